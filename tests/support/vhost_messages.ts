/**
 * Numbers and payload layouts of vhost-user, written from the specification
 * (QEMU docs/interop/vhost-user.rst) for the tests.
 *
 * @module
 */

/** Requests of the front end. */
export const REQUEST = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
  GET_SHMEM_CONFIG: 44,
} as const;

/** Bits of the virtio feature word that matter to a vhost-user-fs device. */
export const FEATURE = {
  LOG_ALL: 26n,
  INDIRECT_DESC: 28n,
  EVENT_IDX: 29n,
  PROTOCOL_FEATURES: 30n,
  VERSION_1: 32n,
} as const;

/** Bits of the protocol feature word. */
export const PROTOCOL = {
  MQ: 0n,
  LOG_SHMFD: 1n,
  REPLY_ACK: 3n,
  BACKEND_REQ: 5n,
  CONFIG: 9n,
  BACKEND_SEND_FD: 10n,
  HOST_NOTIFIER: 11n,
  INFLIGHT_SHMFD: 12n,
  RESET_DEVICE: 13n,
  CONFIGURE_MEM_SLOTS: 15n,
  STATUS: 16n,
  DEVICE_STATE: 19n,
  SHMEM: 22n,
} as const;

/** Bits of the flags word of a message header; the version is 1. */
export const FLAGS = { VERSION: 1, REPLY: 4, NEED_REPLY: 8 } as const;

/** No file descriptor comes with a SET_VRING_KICK, _CALL or _ERR. */
export const VRING_NO_FD = 1n << 8n;

/** The bit mask of several bits. */
export function mask(...bits: bigint[]): bigint {
  return bits.reduce((sum, bit) => sum | (1n << bit), 0n);
}

/** One message as it goes over the socket. */
export function encodeMessage(
  request: number,
  flags: number,
  payload: Uint8Array,
  size: number = payload.length,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, request, true);
  view.setUint32(4, flags, true);
  view.setUint32(8, size, true);
  bytes.set(payload, 12);
  return bytes;
}
