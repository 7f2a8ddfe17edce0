/**
 * Putting little-endian structures together by hand.
 *
 * @module
 */

/** Little-endian words: numbers are 32 bits, bigints 64. */
export function words(...values: (number | bigint)[]): Uint8Array<ArrayBuffer> {
  const size = values.reduce<number>((sum, value) => sum + (typeof value === "bigint" ? 8 : 4), 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const value of values) {
    if (typeof value === "bigint") {
      view.setBigUint64(at, BigInt.asUintN(64, value), true);
      at += 8;
    } else {
      view.setUint32(at, value >>> 0, true);
      at += 4;
    }
  }
  return bytes;
}

/** One array out of several. */
export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The UTF-8 bytes of a text. */
export function text(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value);
}

/** A name as FUSE carries it: its bytes (or those of the text) and a NUL. */
export function name(value: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(typeof value === "string" ? text(value) : value, new Uint8Array(1));
}

/** The bytes, with zeros up to the next multiple of eight. */
export function padded8(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(bytes, new Uint8Array((8 - bytes.length % 8) % 8));
}

/** A view of bytes that may start anywhere in their buffer. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
