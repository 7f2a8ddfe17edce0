/**
 * The messages about rings.
 *
 * @module
 */

import type { OwnedFd } from "../sys/fd.ts";
import {
  U64,
  VHOST_USER_VRING_IDX_MASK,
  VHOST_USER_VRING_NOFD_MASK,
  VHOST_VRING_F_LOG,
  VRING_ADDR,
  VRING_STATE,
} from "../wire/vhost_user.ts";
import type { Message } from "./connection.ts";
import { RequestError } from "./errors.ts";
import { readSafeU64, vringStatePayload } from "./payload.ts";
import type { Session } from "./session.ts";
import type { Vring } from "./vring.ts";

/** The payload of the message's own reply, or null where it has none. */
type Outcome = Uint8Array | null;

/** The ring and the number of a struct vhost_vring_state. */
function readVringState(session: Session, payload: DataView): { vring: Vring; num: number } {
  const vring = session.vring(payload.getUint32(VRING_STATE.INDEX, true));
  return { vring, num: payload.getUint32(VRING_STATE.NUM, true) };
}

/** vhost-user: SET_VRING_NUM */
export async function setVringNum(session: Session, { payload }: Message): Promise<Outcome> {
  const { vring, num } = readVringState(session, payload);
  await vring.setSize(num);
  return null;
}

/** vhost-user: SET_VRING_ADDR */
export async function setVringAddr(session: Session, { payload }: Message): Promise<Outcome> {
  const vring = session.vring(payload.getUint32(VRING_ADDR.INDEX, true));
  if ((payload.getUint32(VRING_ADDR.FLAGS, true) & VHOST_VRING_F_LOG) !== 0) {
    throw new RequestError("it asks for dirty logging, which was never offered");
  }
  // LOG_GUEST_ADDR has a meaning with the flag only: User Mode Linux sends all ones.
  await vring.setAddresses({
    descriptors: readSafeU64(payload, VRING_ADDR.DESC_USER_ADDR),
    avail: readSafeU64(payload, VRING_ADDR.AVAIL_USER_ADDR),
    used: readSafeU64(payload, VRING_ADDR.USED_USER_ADDR),
  });
  return null;
}

/** vhost-user: SET_VRING_BASE */
export async function setVringBase(session: Session, { payload }: Message): Promise<Outcome> {
  const { vring, num } = readVringState(session, payload);
  await vring.setBase(num);
  return null;
}

/** vhost-user: GET_VRING_BASE */
export async function getVringBase(session: Session, { payload }: Message): Promise<Outcome> {
  const { vring } = readVringState(session, payload);
  return vringStatePayload(vring.index, await vring.stop());
}

/** The ring that a descriptor is for, and the descriptor or null where none is meant. */
function readVringFd(session: Session, message: Message): { vring: Vring; hasFd: boolean } {
  const value = message.payload.getBigUint64(U64.VALUE, true);
  const known = BigInt(VHOST_USER_VRING_IDX_MASK | VHOST_USER_VRING_NOFD_MASK);
  if ((value & ~known) !== 0n) throw new RequestError(`0x${value.toString(16)} names no ring`);
  const hasFd = (Number(value) & VHOST_USER_VRING_NOFD_MASK) === 0;
  if (hasFd && message.fdCount === 0) throw new RequestError("its file descriptor is missing");
  if (!hasFd && message.fdCount > 0) {
    throw new RequestError("it has a file descriptor and says that it has none");
  }
  return { vring: session.vring(Number(value) & VHOST_USER_VRING_IDX_MASK), hasFd };
}

/** Runs `use` with the message's descriptor, which then belongs to `use`; if it throws, nobody keeps it. */
async function handOver(
  message: Message,
  hasFd: boolean,
  use: (fd: OwnedFd | null) => void | Promise<void>,
): Promise<Outcome> {
  const fd = hasFd ? message.takeFd(0) : null;
  try {
    await use(fd);
  } catch (error) {
    fd?.close();
    throw error;
  }
  return null;
}

/** vhost-user: SET_VRING_KICK */
export function setVringKick(session: Session, message: Message): Promise<Outcome> {
  const { vring, hasFd } = readVringFd(session, message);
  return handOver(message, hasFd, (fd) => vring.setKick(fd));
}

/** vhost-user: SET_VRING_CALL */
export function setVringCall(session: Session, message: Message): Promise<Outcome> {
  const { vring, hasFd } = readVringFd(session, message);
  return handOver(message, hasFd, (fd) => vring.setCall(fd));
}

/** vhost-user: SET_VRING_ERR */
export function setVringErr(session: Session, message: Message): Promise<Outcome> {
  const { vring, hasFd } = readVringFd(session, message);
  return handOver(message, hasFd, (fd) => vring.setError(fd));
}

/** vhost-user: SET_VRING_ENABLE */
export async function setVringEnable(session: Session, { payload }: Message): Promise<Outcome> {
  const { vring, num } = readVringState(session, payload);
  if (num > 1) throw new RequestError(`a ring is enabled by 1 and disabled by 0, not by ${num}`);
  await vring.setEnabled(num === 1);
  return null;
}
