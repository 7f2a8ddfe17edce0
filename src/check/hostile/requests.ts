/**
 * Bodies of requests, by hand.
 *
 * @module
 */

import { ENTRY_OUT, FUSE_ROOT_ID, Opcode, OPEN_OUT } from "../../wire/fuse.ts";
import type { Answer, RawGuest } from "./raw_guest.ts";

/** The share's root. */
export const ROOT = BigInt(FUSE_ROOT_ID);
const ENCODER = new TextEncoder();

/** A struct of u32s (numbers) and u64s (bigints), with names behind it. */
export function body(fields: readonly (number | bigint)[], ...names: (string | Uint8Array)[]) {
  const parts: Uint8Array[] = fields.map((field) =>
    typeof field === "bigint"
      ? new Uint8Array(new BigUint64Array([BigInt.asUintN(64, field)]).buffer)
      : new Uint8Array(new Uint32Array([field]).buffer)
  );
  for (const name of names) {
    parts.push(typeof name === "string" ? ENCODER.encode(name) : name, new Uint8Array(1));
  }
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The node that a reply names. */
export function nodeOf({ status, body }: Answer): bigint {
  return status === 0 && body.byteLength >= ENTRY_OUT.SIZE ? body.getBigUint64(0, true) : 0n;
}

/** The handle in a reply to OPEN or OPENDIR. */
export function handleOf({ body }: Answer, offset = 0): bigint {
  return body.byteLength >= offset + OPEN_OUT.SIZE ? body.getBigUint64(offset, true) : 0n;
}

export function lookup(guest: RawGuest, parent: bigint, name: string): Answer {
  return guest.call(Opcode.LOOKUP, parent, body([], name));
}

export function open(guest: RawGuest, node: bigint, flags: number, opcode: number = Opcode.OPEN) {
  return guest.call(opcode, node, body([flags, 0]));
}

export function read(guest: RawGuest, node: bigint, handle: bigint, size = 4096): Answer {
  return guest.call(Opcode.READ, node, body([handle, 0n, size, 0, 0n, 0, 0]), size);
}

export function write(guest: RawGuest, node: bigint, handle: bigint, bytes: Uint8Array): Answer {
  const head = body([handle, 0n, bytes.length, 0, 0n, 0, 0]);
  const all = new Uint8Array(head.length + bytes.length);
  all.set(head);
  all.set(bytes, head.length);
  return guest.call(Opcode.WRITE, node, all);
}
