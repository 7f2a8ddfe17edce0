/**
 * Contents that both sides can tell from a number.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** What the host has put into the share before the first guest: files with contents, and many names. */
export const GIVEN = { directory: "given", files: 24 } as const;

/** Bytes of a file of `number`, from `offset` on. No two files, and no two pages of one, are alike. */
export function fillPattern(into: Uint8Array, number: number, offset: number): void {
  for (let i = 0; i < into.length; i++) {
    const at = offset + i;
    into[i] = (at ^ (at >>> 8) ^ (at >>> 16) ^ Math.imul(number, 151)) & 0xff;
  }
}

/** Where the first difference from the pattern is, or -1. */
export function patternDifference(bytes: Uint8Array, number: number, offset: number): number {
  for (let i = 0; i < bytes.length; i++) {
    const at = offset + i;
    const expected = (at ^ (at >>> 8) ^ (at >>> 16) ^ Math.imul(number, 151)) & 0xff;
    if (bytes[i] !== expected) return i;
  }
  return -1;
}

/** How long the given file of this number is: some are large enough to be mapped (DAX). */
export function givenSize(number: number): number {
  return number % 4 === 0 ? (1 + number % 3) * 1024 * 1024 + number * 37 : number * 5003;
}

/** Its path in the share. */
export function givenPath(number: number): string {
  return `${GIVEN.directory}/file${number}`;
}

/** The path of one of the many names. */
export function givenName(number: number): string {
  return `${GIVEN.directory}/many/name-${number}`;
}

/** Short, for a list of files. */
export function digest(bytes: Uint8Array): string {
  return `${bytes.length}:${createHash("sha256").update(bytes).digest("hex").slice(0, 24)}`;
}

/** Makes all this on the host. */
export function makeGiven(share: string, names: number): void {
  Deno.mkdirSync(`${share}/${GIVEN.directory}/many`, { recursive: true });
  for (let number = 0; number < GIVEN.files; number++) {
    const bytes = new Uint8Array(givenSize(number));
    fillPattern(bytes, number, 0);
    Deno.writeFileSync(`${share}/${givenPath(number)}`, bytes);
  }
  for (let number = 0; number < names; number++) {
    Deno.writeTextFileSync(`${share}/${givenName(number)}`, "");
  }
}
