/**
 * The messages of the front end: one row for each, saying what a well-formed one looks like and what it does.
 *
 * A message is checked in this order: protocol feature, number of descriptors, payload size, fields; and only then is
 * something done. So a refused message has changed nothing.
 *
 * @module
 */

import {
  CONFIG,
  CONFIG_SIZE_MAX,
  MEMORY_REGION,
  MEMORY_REGION_MESSAGE,
  MEMORY_TABLE,
  MEMORY_TABLE_REGION_COUNT_MAX,
  SHMEM_CONFIG,
  U64,
  VHOST_USER,
  VHOST_USER_PROTOCOL_F,
  VRING_ADDR,
  VRING_STATE,
} from "../wire/vhost_user.ts";
import { type Message, MESSAGE_FD_COUNT_MAX, PAYLOAD_SIZE_MAX } from "./connection.ts";
import { RequestError } from "./errors.ts";
import {
  hasFeature,
  offeredFeatures,
  offeredProtocolFeatures,
  protocolFeatureName,
} from "./features.ts";
import { MEMORY_SLOT_COUNT_MAX } from "./memory_table.ts";
import { readRegion, u64Payload } from "./payload.ts";
import type { Session } from "./session.ts";
import {
  getVringBase,
  setVringAddr,
  setVringBase,
  setVringCall,
  setVringEnable,
  setVringErr,
  setVringKick,
  setVringNum,
} from "./vring_messages.ts";

/** The payload of the message's own reply, or null where it has none. */
type Outcome = Uint8Array | null;

type Range = readonly [min: number, max: number];

/** A kind of message. */
export interface Handler {
  readonly name: string;
  /** Whether the message has a reply of its own, which an acknowledgement cannot stand for. */
  readonly replies: boolean;
  readonly payloadSize: Range;
  readonly fdCount: Range;
  /** The protocol feature that must have been negotiated, or null. */
  readonly feature: number | null;
  run(session: Session, message: Message): Outcome | Promise<Outcome>;
}

const NOTHING: Range = [0, 0];
const ONE_FD: Range = [1, 1];
const VRING_FD: Range = [0, 1];
const ANY_SIZE: Range = [0, PAYLOAD_SIZE_MAX];
const F = VHOST_USER_PROTOCOL_F;

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [VHOST_USER.GET_FEATURES, get("GET_FEATURES", null, getFeatures)],
  [VHOST_USER.SET_FEATURES, set("SET_FEATURES", null, exactly(U64.SIZE), setFeatures)],
  [VHOST_USER.SET_OWNER, set("SET_OWNER", null, NOTHING, acceptOwner)],
  [VHOST_USER.RESET_OWNER, set("RESET_OWNER", null, NOTHING, acceptOwner)],
  [VHOST_USER.GET_PROTOCOL_FEATURES, get("GET_PROTOCOL_FEATURES", null, getProtocolFeatures)],
  [
    VHOST_USER.SET_PROTOCOL_FEATURES,
    set("SET_PROTOCOL_FEATURES", null, exactly(U64.SIZE), setProtocolFeatures),
  ],
  [VHOST_USER.GET_QUEUE_NUM, get("GET_QUEUE_NUM", null, getQueueNum)],
  [
    VHOST_USER.SET_BACKEND_REQ_FD,
    set("SET_BACKEND_REQ_FD", F.BACKEND_REQ, NOTHING, setBackendReqFd, ONE_FD),
  ],

  // Memory. User Mode Linux sends tables of fixed size, with rows behind the last region.
  [
    VHOST_USER.SET_MEM_TABLE,
    set(
      "SET_MEM_TABLE",
      null,
      [
        MEMORY_TABLE.REGIONS,
        MEMORY_TABLE.REGIONS + MEMORY_TABLE_REGION_COUNT_MAX * MEMORY_REGION.SIZE,
      ],
      setMemTable,
      [0, MEMORY_TABLE_REGION_COUNT_MAX],
    ),
  ],
  [
    VHOST_USER.GET_MAX_MEM_SLOTS,
    get("GET_MAX_MEM_SLOTS", F.CONFIGURE_MEM_SLOTS, getMaxMemSlots),
  ],
  [
    VHOST_USER.ADD_MEM_REG,
    set(
      "ADD_MEM_REG",
      F.CONFIGURE_MEM_SLOTS,
      exactly(MEMORY_REGION_MESSAGE.SIZE),
      addMemReg,
      ONE_FD,
    ),
  ],
  // The specification lets old front ends send a descriptor along; it is closed with the message.
  [
    VHOST_USER.REM_MEM_REG,
    set(
      "REM_MEM_REG",
      F.CONFIGURE_MEM_SLOTS,
      exactly(MEMORY_REGION_MESSAGE.SIZE),
      remMemReg,
      [0, 1],
    ),
  ],

  // Rings
  [VHOST_USER.SET_VRING_NUM, set("SET_VRING_NUM", null, exactly(VRING_STATE.SIZE), setVringNum)],
  [VHOST_USER.SET_VRING_ADDR, set("SET_VRING_ADDR", null, exactly(VRING_ADDR.SIZE), setVringAddr)],
  [VHOST_USER.SET_VRING_BASE, set("SET_VRING_BASE", null, exactly(VRING_STATE.SIZE), setVringBase)],
  [VHOST_USER.GET_VRING_BASE, {
    ...get("GET_VRING_BASE", null, getVringBase),
    payloadSize: exactly(VRING_STATE.SIZE),
  }],
  [
    VHOST_USER.SET_VRING_KICK,
    set("SET_VRING_KICK", null, exactly(U64.SIZE), setVringKick, VRING_FD),
  ],
  [
    VHOST_USER.SET_VRING_CALL,
    set("SET_VRING_CALL", null, exactly(U64.SIZE), setVringCall, VRING_FD),
  ],
  [VHOST_USER.SET_VRING_ERR, set("SET_VRING_ERR", null, exactly(U64.SIZE), setVringErr, VRING_FD)],
  [
    VHOST_USER.SET_VRING_ENABLE,
    set("SET_VRING_ENABLE", null, exactly(VRING_STATE.SIZE), setVringEnable),
  ],

  // The device
  [VHOST_USER.GET_CONFIG, { ...get("GET_CONFIG", F.CONFIG, getConfig), payloadSize: ANY_SIZE }],
  [VHOST_USER.SET_CONFIG, set("SET_CONFIG", F.CONFIG, ANY_SIZE, setConfig)],
  [VHOST_USER.RESET_DEVICE, set("RESET_DEVICE", F.RESET_DEVICE, NOTHING, resetDevice)],

  // Messages of features that are never offered. They have rows so that the log can name them, and so that those
  // with a reply of their own are not acknowledged instead.
  [VHOST_USER.SET_LOG_BASE, unoffered("SET_LOG_BASE", F.LOG_SHMFD, true)],
  [VHOST_USER.SET_LOG_FD, unoffered("SET_LOG_FD", F.LOG_SHMFD, false)],
  [VHOST_USER.SEND_RARP, unoffered("SEND_RARP", F.RARP, false)],
  [VHOST_USER.NET_SET_MTU, unoffered("NET_SET_MTU", F.NET_MTU, false)],
  [VHOST_USER.SET_VRING_ENDIAN, unoffered("SET_VRING_ENDIAN", F.CROSS_ENDIAN, false)],
  [
    VHOST_USER.CREATE_CRYPTO_SESSION,
    unoffered("CREATE_CRYPTO_SESSION", F.CRYPTO_SESSION, true),
  ],
  [VHOST_USER.CLOSE_CRYPTO_SESSION, unoffered("CLOSE_CRYPTO_SESSION", F.CRYPTO_SESSION, false)],
  [VHOST_USER.POSTCOPY_ADVISE, unoffered("POSTCOPY_ADVISE", F.PAGEFAULT, true)],
  [VHOST_USER.POSTCOPY_LISTEN, unoffered("POSTCOPY_LISTEN", F.PAGEFAULT, false)],
  [VHOST_USER.POSTCOPY_END, unoffered("POSTCOPY_END", F.PAGEFAULT, true)],
  [VHOST_USER.GET_INFLIGHT_FD, unoffered("GET_INFLIGHT_FD", F.INFLIGHT_SHMFD, true)],
  [VHOST_USER.SET_INFLIGHT_FD, unoffered("SET_INFLIGHT_FD", F.INFLIGHT_SHMFD, false)],
  [VHOST_USER.VRING_KICK, unoffered("VRING_KICK", F.INBAND_NOTIFICATIONS, false)],
  [VHOST_USER.SET_STATUS, unoffered("SET_STATUS", F.STATUS, false)],
  [VHOST_USER.GET_STATUS, unoffered("GET_STATUS", F.STATUS, true)],
  [VHOST_USER.GET_SHARED_OBJECT, unoffered("GET_SHARED_OBJECT", F.SHARED_OBJECT, true)],
  [VHOST_USER.SET_DEVICE_STATE_FD, unoffered("SET_DEVICE_STATE_FD", F.DEVICE_STATE, true)],
  [VHOST_USER.CHECK_DEVICE_STATE, unoffered("CHECK_DEVICE_STATE", F.DEVICE_STATE, true)],
  // Which bit offers it is the device's to say: the handler looks.
  [VHOST_USER.GET_SHMEM_CONFIG, get("GET_SHMEM_CONFIG", null, getShmemConfig)],
]);

/** The row of a message, or null for one that nobody knows. */
export function handlerOf(request: number): Handler | null {
  return HANDLERS.get(request) ?? null;
}

/** Checks a message against its row and does what it says. Throws a {@linkcode RequestError} if it cannot be done. */
export async function handle(
  handler: Handler | null,
  session: Session,
  message: Message,
): Promise<Outcome> {
  if (handler === null) throw new RequestError("this message is not known");
  const { feature } = handler;
  if (feature !== null && !hasFeature(session.protocolFeatures, feature)) {
    throw new RequestError(`${protocolFeatureName(feature)} was not negotiated`);
  }
  checkRange(message.fdCount, handler.fdCount, "file descriptors");
  checkRange(message.payload.byteLength, handler.payloadSize, "bytes of payload");
  return await handler.run(session, message);
}

function checkRange(actual: number, [min, max]: Range, what: string): void {
  if (actual >= min && actual <= max) return;
  throw new RequestError(
    `it has ${actual} ${what}, not ${min === max ? min : `${min} to ${max}`}`,
  );
}

function exactly(size: number): Range {
  return [size, size];
}

function get(name: string, feature: number | null, run: Handler["run"]): Handler {
  return { name, replies: true, payloadSize: NOTHING, fdCount: NOTHING, feature, run };
}

function set(
  name: string,
  feature: number | null,
  payloadSize: Range,
  run: Handler["run"],
  fdCount: Range = NOTHING,
): Handler {
  return { name, replies: false, payloadSize, fdCount, feature, run };
}

function unoffered(name: string, feature: number, replies: boolean): Handler {
  const run = () => {
    throw new RequestError(`${protocolFeatureName(feature)} was not negotiated`);
  };
  const fdCount: Range = [0, MESSAGE_FD_COUNT_MAX];
  return { name, replies, payloadSize: ANY_SIZE, fdCount, feature, run };
}

function getFeatures(session: Session): Outcome {
  return u64Payload(offeredFeatures(session.device));
}

async function setFeatures(session: Session, { payload }: Message): Promise<Outcome> {
  await session.setFeatures(payload.getBigUint64(U64.VALUE, true));
  return null;
}

/**
 * SET_OWNER says what the connection says already. RESET_OWNER is deprecated, and the specification recommends that it
 * be ignored: some front ends send it where they mean RESET_DEVICE, and never enable the rings again.
 */
function acceptOwner(): Outcome {
  return null;
}

function getProtocolFeatures(session: Session): Outcome {
  return u64Payload(offeredProtocolFeatures(session.device));
}

function setProtocolFeatures(session: Session, { payload }: Message): Outcome {
  session.setProtocolFeatures(payload.getBigUint64(U64.VALUE, true));
  return null;
}

function getQueueNum(session: Session): Outcome {
  return u64Payload(session.device.queueCount);
}

function setBackendReqFd(session: Session, message: Message): Outcome {
  session.setBackendChannel(message.takeFd(0));
  return null;
}

async function setMemTable(session: Session, message: Message): Promise<Outcome> {
  const { payload, fdCount } = message;
  const count = payload.getUint32(MEMORY_TABLE.NREGIONS, true);
  const size = MEMORY_TABLE.REGIONS + count * MEMORY_REGION.SIZE;
  if (payload.byteLength < size) {
    throw new RequestError(`${count} regions do not fit into ${payload.byteLength} bytes`);
  }
  if (fdCount !== count) throw new RequestError(`${count} regions with ${fdCount} descriptors`);
  const descriptions = Array.from(
    { length: count },
    (_, index) => readRegion(payload, MEMORY_TABLE.REGIONS + index * MEMORY_REGION.SIZE),
  );
  await session.memory.replace(descriptions, descriptions.map((_, index) => message.fd(index)));
  return null;
}

function getMaxMemSlots(): Outcome {
  return u64Payload(MEMORY_SLOT_COUNT_MAX);
}

async function addMemReg(session: Session, message: Message): Promise<Outcome> {
  const description = readRegion(message.payload, MEMORY_REGION_MESSAGE.REGION);
  await session.memory.add(description, message.fd(0));
  return null;
}

async function remMemReg(session: Session, { payload }: Message): Promise<Outcome> {
  await session.memory.remove(readRegion(payload, MEMORY_REGION_MESSAGE.REGION));
  return null;
}

/**
 * The reply has the size of the request, as the specification wants; an empty one says that there is nothing at that
 * offset. Front ends ask for more than the device has (User Mode Linux for one byte more at a time, others for a
 * whole struct of a later version): the rest reads as zero.
 */
function getConfig(session: Session, { payload }: Message): Outcome {
  const { config } = session.device;
  if (config === null || payload.byteLength < CONFIG.BYTES) return new Uint8Array(0);
  const offset = payload.getUint32(CONFIG.OFFSET, true);
  const size = payload.getUint32(CONFIG.BYTE_COUNT, true);
  if (offset + size > CONFIG_SIZE_MAX) return new Uint8Array(0);
  const reply = new Uint8Array(Math.max(payload.byteLength, CONFIG.BYTES + size));
  reply.set(new Uint8Array(payload.buffer, 0, CONFIG.BYTES));
  reply.set(config.subarray(offset, offset + size), CONFIG.BYTES);
  return reply;
}

/** virtio 1.3, 5.11.4: the driver must not write to the configuration space of a file system device. */
function setConfig(): Outcome {
  throw new RequestError("the configuration space of a file system is read-only");
}

/** The regions of the device by id; those without a size are none. */
async function getShmemConfig(session: Session): Promise<Outcome> {
  const { shmemBit } = session.device;
  if (shmemBit === null || !hasFeature(session.protocolFeatures, shmemBit)) {
    throw new RequestError("SHMEM was not negotiated");
  }
  const sizes = await session.openShmem();
  const reply = new Uint8Array(SHMEM_CONFIG.SIZE);
  const view = new DataView(reply.buffer);
  view.setUint32(SHMEM_CONFIG.NREGIONS, sizes.filter((size) => size > 0).length, true);
  sizes.forEach((size, id) => view.setBigUint64(SHMEM_CONFIG.SIZES + 8 * id, BigInt(size), true));
  return reply;
}

async function resetDevice(session: Session): Promise<Outcome> {
  await session.reset();
  return null;
}
