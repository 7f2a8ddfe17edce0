/**
 * Reading the fields of payloads and making those of replies.
 *
 * @module
 */

import type { RegionDescription } from "../memory/region.ts";
import { MEMORY_REGION, U64, VRING_STATE } from "../wire/vhost_user.ts";
import { RequestError } from "./errors.ts";

/** A u64 that is an address, a size or an offset: only below 2^53 can it be one here. */
export function readSafeU64(payload: DataView, offset: number): number {
  const value = payload.getBigUint64(offset, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new RequestError(`0x${value.toString(16)} is neither an address nor a size`);
  }
  return Number(value);
}

/** struct VhostUserMemoryRegion at `offset` */
export function readRegion(payload: DataView, offset: number): RegionDescription {
  return {
    guestAddress: readSafeU64(payload, offset + MEMORY_REGION.GUEST_PHYS_ADDR),
    size: readSafeU64(payload, offset + MEMORY_REGION.MEMORY_SIZE),
    userAddress: readSafeU64(payload, offset + MEMORY_REGION.USERSPACE_ADDR),
    mmapOffset: readSafeU64(payload, offset + MEMORY_REGION.MMAP_OFFSET),
  };
}

/** A payload of one u64. */
export function u64Payload(value: bigint | number): Uint8Array {
  const bytes = new Uint8Array(U64.SIZE);
  new DataView(bytes.buffer).setBigUint64(U64.VALUE, BigInt(value), true);
  return bytes;
}

/** struct vhost_vring_state */
export function vringStatePayload(index: number, num: number): Uint8Array {
  const bytes = new Uint8Array(VRING_STATE.SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(VRING_STATE.INDEX, index, true);
  view.setUint32(VRING_STATE.NUM, num, true);
  return bytes;
}
