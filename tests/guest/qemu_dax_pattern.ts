/**
 * File contents that follow from a seed and the offset; `qemu_dax_probe.c` has the guest's half.
 *
 * @module
 */

function word(seed: number, index: number): number {
  let value = Math.imul(index, 2654435761) ^ Math.imul(seed, 0x9e3779b9);
  value ^= value >>> 15;
  value = Math.imul(value, 0x2c1b3c6d);
  return value ^ (value >>> 12);
}

/** The pattern's bytes from an offset on. */
export function pattern(seed: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const first = Math.floor(offset / 4);
  const words = new Int32Array(Math.ceil((offset + length) / 4) - first);
  for (let i = 0; i < words.length; i++) words[i] = word(seed, first + i);
  return new Uint8Array(words.buffer, offset - 4 * first, length);
}

/** Throws unless the bytes from an offset on are the good ones; `what` begins the message. */
export function expectBytes(what: string, bytes: Uint8Array, good: Uint8Array, offset = 0): void {
  if (bytes.length !== good.length) {
    throw new Error(`${what} has ${bytes.length} bytes from ${offset} on, not ${good.length}`);
  }
  const at = bytes.findIndex((byte, i) => byte !== good[i]);
  if (at >= 0) throw new Error(`${what}: byte ${offset + at} is ${bytes[at]}, not ${good[at]}`);
}
