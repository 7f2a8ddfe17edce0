/**
 * Making a version table and its registry. We may be killed at any instant, and must never take a file for one of ours that is not: so both get a part
 * of their magic before anything else, and the registry gets the rest of it last.
 *
 * @module
 */

import { SetupError } from "../setup_error.ts";
import { EEXIST, ENOENT, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { O_CREAT, O_EXCL, O_RDWR } from "../wire/linux.ts";
import {
  VERSION_MAGIC_HI,
  VERSION_MAGIC_LO,
  VERSION_TABLE,
  VERSION_TABLE_LAYOUT,
} from "../wire/shared_versions.ts";
import {
  REGISTRY_HEADER,
  REGISTRY_LAYOUT_VERSION,
  REGISTRY_MAGIC_HI,
  REGISTRY_MAGIC_LO,
  registrySize,
  tableSize,
} from "./registry_layout.ts";
import {
  checkOwner,
  GIVE_ANOTHER,
  registryPath,
  setMode,
  statOf,
  tryOpen,
  unlink,
} from "./version_file_access.ts";
import { isTable, type Made } from "./version_file_checks.ts";

/** Makes the table, then fills in the registry, which is empty or half made, and locked. */
export function makeFiles(registry: OwnedFd, path: string, slotCount: number): Made {
  const identity = crypto.getRandomValues(new Uint32Array(2));
  const made = { slotCount, identityLo: identity[0]!, identityHi: identity[1]! };
  let table: OwnedFd | null = null;
  try {
    table = newTable(path);
    setMode(table);
    setMode(registry);
    begin(registry, registryPath(path), 0, REGISTRY_MAGIC_HI);
    begin(table, path, VERSION_MAGIC_LO, VERSION_MAGIC_HI);
    allocate(table, tableSize(slotCount), path);
    allocate(registry, registrySize(slotCount), registryPath(path));
    fillTable(table, made);
    fillRegistry(registry, made);
  } catch (error) {
    // Half a table is in nobody's way.
    if (table !== null) unlink(path);
    unlink(registryPath(path));
    throw error;
  } finally {
    table?.close();
  }
  return made;
}

/**
 * An empty file for the table. One that is there already, left by somebody who was killed, is taken; a table whose registry is gone is replaced; anything
 * else stays.
 */
function newTable(path: string): OwnedFd {
  const fd = tryOpen(path, O_RDWR);
  if (fd >= 0) {
    const old = new OwnedFd(fd);
    let isEmpty = false;
    try {
      checkOwner(old, path);
      isEmpty = statOf(old, path).size === 0;
      if (isEmpty) return old;
      if (!isTable(old)) throw inTheWay(path, "it is there and is no version table");
      unlink(path);
    } finally {
      if (!isEmpty) old.close();
    }
  } else if (fd !== -ENOENT) throw inTheWay(path, errnoName(fd));
  const fresh = tryOpen(path, O_RDWR | O_CREAT | O_EXCL);
  if (fresh >= 0) return new OwnedFd(fresh);
  throw inTheWay(path, fresh === -EEXIST ? "it is there and cannot be removed" : errnoName(fresh));
}

function inTheWay(path: string, why: string): SetupError {
  return new SetupError(`The version table ${path} cannot be made: ${why}; ${GIVE_ANOTHER}`);
}

/** The first eight bytes of a file, in one system call. */
function begin(fd: OwnedFd, path: string, low: number, high: number): void {
  libc.lseek(fd.number, 0n, 0);
  const bytes = new Uint8Array(new Uint32Array([low, high]).buffer);
  const written = status(libc.write_bytes(fd.number, bytes, bytes.length));
  if (written !== bytes.length) throw noRoom(path, bytes.length, written);
}

/** Real memory for all of a file: a page that cannot be had later would be SIGBUS. */
function allocate(fd: OwnedFd, size: number, path: string): void {
  let result = status(libc.fallocate(fd.number, 0, 0n, BigInt(size)));
  // Somebody may have wanted more slots and was killed.
  if (result === 0) result = status(libc.ftruncate(fd.number, BigInt(size)));
  if (result !== 0) throw noRoom(path, size, result);
}

function noRoom(path: string, size: number, errno: number): SetupError {
  const mebibytes = (size / 2 ** 20).toFixed(1);
  return new SetupError(
    `No room for the ${mebibytes} MiB of ${path}: ${
      errnoName(errno)
    }; use fewer --version-slots, or ${GIVE_ANOTHER}`,
  );
}

function fillTable(table: OwnedFd, made: Made): void {
  const mapping = new Mapping(table.number, 0, tableSize(made.slotCount));
  const words = mapping.memory.u32;
  words[VERSION_TABLE.LAYOUT_VERSION >>> 2] = VERSION_TABLE_LAYOUT;
  words[VERSION_TABLE.SLOT_COUNT >>> 2] = made.slotCount;
  words[VERSION_TABLE.IDENTITY >>> 2] = made.identityLo;
  words[(VERSION_TABLE.IDENTITY + 4) >>> 2] = made.identityHi;
  mapping.unmap();
}

function fillRegistry(registry: OwnedFd, made: Made): void {
  const header = new Mapping(registry.number, 0, REGISTRY_HEADER.SIZE);
  const words = header.memory.u32;
  words[REGISTRY_HEADER.LAYOUT_VERSION >>> 2] = REGISTRY_LAYOUT_VERSION;
  words[REGISTRY_HEADER.SLOT_COUNT >>> 2] = made.slotCount;
  words[REGISTRY_HEADER.IDENTITY_LO >>> 2] = made.identityLo;
  words[REGISTRY_HEADER.IDENTITY_HI >>> 2] = made.identityHi;
  Atomics.store(words, REGISTRY_HEADER.MAGIC_LO >>> 2, REGISTRY_MAGIC_LO);
  header.unmap();
}
