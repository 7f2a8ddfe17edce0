/**
 * Capabilities (capabilities(7)): which ones a daemon keeps, and sets of them as the kernel takes them.
 *
 * @module
 */

import type { CapabilityChanges } from "../isolation_config.ts";
import { systemCallNumber } from "../sys/architecture.ts";
import { libc } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { CAPABILITY } from "../wire/isolation.ts";
import { CAPABILITY_VERSION_3 } from "../wire/linux.ts";

/** What acting on files as anybody takes, and no more: Rust virtiofsd's set. */
const KEPT = [
  CAPABILITY.CHOWN,
  CAPABILITY.DAC_OVERRIDE,
  CAPABILITY.FOWNER,
  CAPABILITY.FSETID,
  CAPABILITY.SETGID,
  CAPABILITY.SETUID,
  CAPABILITY.MKNOD,
  CAPABILITY.SETFCAP,
] as const;

const CAPABILITY_LAST = CAPABILITY.CHECKPOINT_RESTORE;
/** struct __user_cap_data_struct, two of them: effective, permitted, inheritable. */
const DATA_SIZE = 24;
const WORDS = 3;

/** Sets of capabilities are bits of one bigint. */
export type CapabilitySet = bigint;

/** What a daemon keeps. Opening inodes by file handle takes one capability more. */
export function keptCapabilities(
  usesFileHandles: boolean,
  changes: CapabilityChanges | null,
): CapabilitySet {
  let set = 0n;
  for (const capability of KEPT) set |= bit(capability);
  if (usesFileHandles) set |= bit(CAPABILITY.DAC_READ_SEARCH);
  for (const capability of changes?.add ?? []) set |= bit(capability);
  for (const capability of changes?.remove ?? []) set &= ~bit(capability);
  return set;
}

/** The numbers in a set. */
export function members(set: CapabilitySet): number[] {
  const numbers: number[] = [];
  for (let capability = 0; capability < 64; capability++) {
    if ((set & bit(capability)) !== 0n) numbers.push(capability);
  }
  return numbers;
}

/** `sys_admin` */
export function capabilityName(number: number): string {
  const found = Object.entries(CAPABILITY).find(([, value]) => value === number);
  return found === undefined ? `capability ${number}` : found[0].toLowerCase();
}

/** The number of `sys_admin`, `CAP_SYS_ADMIN` and the like, or null. */
export function capabilityNumber(name: string): number | null {
  const key = name.toUpperCase().replace(/^CAP_/, "");
  return Object.hasOwn(CAPABILITY, key) ? CAPABILITY[key as keyof typeof CAPABILITY] : null;
}

/** All that are not in a set, as far as the kernel has them. */
export function others(set: CapabilitySet): number[] {
  const numbers: number[] = [];
  for (let capability = 0; capability <= CAPABILITY_LAST; capability++) {
    if ((set & bit(capability)) === 0n) numbers.push(capability);
  }
  return numbers;
}

/** What this thread is permitted. */
export function ownCapabilities(): CapabilitySet {
  const memory = NativeMemory.allocate(4096);
  const data = 64;
  memory.u8.set(capabilityHeader());
  const number = systemCallNumber("capget")!;
  if (libc.syscall2p(number, memory.pointerAt(0), memory.pointerAt(data)) !== 0) return 0n;
  const low = memory.view.getUint32(data + 4, true);
  const high = memory.view.getUint32(data + 4 * (WORDS + 1), true);
  return BigInt(low) | (BigInt(high) << 32n);
}

/** capset(2)'s first argument, for the calling thread. */
export function capabilityHeader(): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(0, CAPABILITY_VERSION_3, true);
  return bytes;
}

/** capset(2)'s second argument: one set, to be had, used and inherited. */
export function capabilityData(set: CapabilitySet): Uint8Array {
  const bytes = new Uint8Array(DATA_SIZE);
  const words = new Uint32Array(bytes.buffer);
  words.fill(Number(set & 0xffffffffn), 0, WORDS);
  words.fill(Number(set >> 32n), WORDS, 2 * WORDS);
  return bytes;
}

function bit(capability: number): bigint {
  return 1n << BigInt(capability);
}
