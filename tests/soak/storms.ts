/**
 * What a guest does in bulk: transfers of many MiB, ten thousand names known at once, and all of them forgotten.
 *
 * @module
 */

import { O_CREAT, O_RDONLY, O_RDWR } from "../../src/wire/linux.ts";
import type { Random } from "../fuzz/random.ts";
import { type GuestFiles, Unexpected } from "./guest_files.ts";
import {
  fillPattern,
  GIVEN,
  givenName,
  givenPath,
  givenSize,
  patternDifference,
} from "./pattern.ts";

const MIB = 1024 * 1024;
/** Inodes that a guest keeps after it has been told to forget. */
const KEPT_INODES = 64;

/** Writes many MiB, reads them back and removes them. */
export function transfer(files: GuestFiles, random: Random, root: string): void {
  const path = `${root}/big`;
  const pieces = 4 + random.below(20);
  const number = random.below(256);
  const buffer = new Uint8Array(MIB);
  files.with(path, O_RDWR | O_CREAT, (fd) => {
    for (let i = 0; i < pieces; i++) {
      fillPattern(buffer, number, i * MIB);
      files.pwrite(fd, buffer, i * MIB, `write ${path}`);
    }
    files.must(files.calls.fdatasync(fd), `fdatasync ${path}`);
  });
  verifyPattern(files, path, { number, size: pieces * MIB });
  files.unlink(path);
}

/** Reads one of the files that the host has given. */
export function readGiven(files: GuestFiles, random: Random): void {
  const number = random.below(GIVEN.files);
  verifyPattern(files, givenPath(number), { number, size: givenSize(number) });
}

function verifyPattern(
  files: GuestFiles,
  path: string,
  { number, size }: { readonly number: number; readonly size: number },
): void {
  const buffer = new Uint8Array(MIB);
  files.with(path, O_RDONLY, (fd) => {
    for (let offset = 0; offset < size; offset += MIB) {
      const expected = Math.min(MIB, size - offset);
      const bytes = files.pread(fd, buffer, offset, `read ${path}`);
      const at = patternDifference(bytes, number, offset);
      if (bytes.length === expected && at < 0) continue;
      throw new Unexpected(
        `${path}: ${bytes.length} bytes at ${offset}, expected ${expected}; first difference ${at}`,
      );
    }
  });
}

/** Asks for all the names, so that the daemon has ten thousand inodes. */
export function knowMany(files: GuestFiles, random: Random, names: number): void {
  const { volume } = files.session;
  if (random.oneIn(2)) {
    const listed = files.list(`${GIVEN.directory}/many`).length;
    if (listed !== names) throw new Unexpected(`${listed} names, expected ${names}`);
  }
  for (let number = 0; number < names; number++) {
    const found = files.calls.fstatat(givenName(number), 0);
    if (typeof found === "number") files.must(found, `stat ${givenName(number)}`);
  }
  if (volume.inodeCount <= names) {
    throw new Unexpected(`only ${volume.inodeCount} inodes are known`);
  }
}

/** FORGET for all inodes but those in use. */
export function forget(files: GuestFiles): void {
  const { volume } = files.session;
  const { inodeCountMax } = volume.options;
  Object.assign(volume.options, { inodeCountMax: KEPT_INODES });
  // The first time round those that were used of late are only marked.
  for (let i = 0; i < 3; i++) volume.shrink();
  Object.assign(volume.options, { inodeCountMax });
}
