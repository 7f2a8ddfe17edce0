/**
 * Messages of the vhost-user protocol (QEMU, docs/interop/vhost-user.rst). All fields are in the machine's
 * byte order, which is little-endian everywhere this runs.
 *
 * @module
 */

/** The header before every payload: struct VhostUserHeader. */
export const HEADER = { REQUEST: 0, FLAGS: 4, PAYLOAD_SIZE: 8, SIZE: 12 } as const;

/** Bits 0 and 1 of the flags are the version of the protocol, which has always been 1. */
export const VHOST_USER_VERSION_MASK = 0x3;
export const VHOST_USER_VERSION = 0x1;
/** Set in every reply. */
export const VHOST_USER_REPLY_MASK = 0x4;
/** The sender wants an answer to a message that has no reply of its own (needs REPLY_ACK). */
export const VHOST_USER_NEED_REPLY_MASK = 0x8;

/** What the front end sends: enum VhostUserRequest. */
export const VHOST_USER = {
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
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  CREATE_CRYPTO_SESSION: 26,
  CLOSE_CRYPTO_SESSION: 27,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GPU_SET_SOCKET: 33,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  GET_SHARED_OBJECT: 41,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
  GET_SHMEM_CONFIG: 44,
} as const;

/** What the back end sends over its own channel (vhost-user: SET_BACKEND_REQ_FD). */
export const VHOST_USER_BACKEND = {
  IOTLB_MSG: 1,
  CONFIG_CHANGE_MSG: 2,
  VRING_HOST_NOTIFIER_MSG: 3,
  VRING_CALL: 4,
  VRING_ERR: 5,
  SHARED_OBJECT_ADD: 6,
  SHARED_OBJECT_REMOVE: 7,
  SHARED_OBJECT_LOOKUP: 8,
  SHMEM_MAP: 9,
  SHMEM_UNMAP: 10,
} as const;

/** Bits of GET_PROTOCOL_FEATURES: VHOST_USER_PROTOCOL_F_*. */
export const VHOST_USER_PROTOCOL_F = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  NET_MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM: 22,
} as const;

/** A payload of one u64: features, an acknowledgement (0 = done), a ring and its file descriptor. */
export const U64 = { VALUE: 0, SIZE: 8 } as const;

/** SET_VRING_KICK, _CALL, _ERR: bits 0 to 7 are the ring, bit 8 says that no file descriptor comes along. */
export const VHOST_USER_VRING_IDX_MASK = 0xff;
export const VHOST_USER_VRING_NOFD_MASK = 0x100;

/** linux/vhost_types.h: struct vhost_vring_state */
export const VRING_STATE = { INDEX: 0, NUM: 4, SIZE: 8 } as const;

/** linux/vhost_types.h: struct vhost_vring_addr; the addresses are the front end's own. */
export const VRING_ADDR = {
  INDEX: 0,
  FLAGS: 4,
  DESC_USER_ADDR: 8,
  USED_USER_ADDR: 16,
  AVAIL_USER_ADDR: 24,
  LOG_GUEST_ADDR: 32,
  SIZE: 40,
} as const;
/** Writes to the used ring are to be logged. */
export const VHOST_VRING_F_LOG = 0x1;

/** One region: struct VhostUserMemoryRegion. */
export const MEMORY_REGION = {
  GUEST_PHYS_ADDR: 0,
  MEMORY_SIZE: 8,
  USERSPACE_ADDR: 16,
  MMAP_OFFSET: 24,
  SIZE: 32,
} as const;

/** SET_MEM_TABLE: struct VhostUserMemory; the number of regions, then that many of them. */
export const MEMORY_TABLE = { NREGIONS: 0, REGIONS: 8 } as const;
/** VHOST_MEMORY_BASELINE_NREGIONS: the most regions that one table can hold. */
export const MEMORY_TABLE_REGION_COUNT_MAX = 8;

/** ADD_MEM_REG and REM_MEM_REG: struct VhostUserMemRegMsg */
export const MEMORY_REGION_MESSAGE = { REGION: 8, SIZE: 40 } as const;

/** GET_CONFIG and SET_CONFIG: struct VhostUserConfig, then the bytes. */
export const CONFIG = { OFFSET: 0, BYTE_COUNT: 4, FLAGS: 8, BYTES: 12 } as const;
/** VHOST_USER_MAX_CONFIG_SIZE: no device's configuration space is larger. */
export const CONFIG_SIZE_MAX = 256;

/** GET_SHMEM_CONFIG's reply: struct VhostUserShMemConfig, sizes[256] of u64 by shared-memory id. */
export const SHMEM_CONFIG = { NREGIONS: 0, SIZES: 8, SIZE: 2056 } as const;
export const SHMEM_REGION_COUNT_MAX = 256;
/** SHMEM_MAP and SHMEM_UNMAP of the back-end channel: struct VhostUserMMap. */
export const SHMEM_MAP_MESSAGE = {
  SHMID: 0,
  FD_OFFSET: 8,
  SHM_OFFSET: 16,
  LEN: 24,
  FLAGS: 32,
  SIZE: 40,
} as const;
/** The mapping is readable and writable; without it, readable only. */
export const VHOST_USER_FLAG_MAP_RW = 0x1;

/** virtio 1.3, 5.11.4: shared-memory region 0 is the DAX window. */
export const DAX_REGION_ID = 0;
