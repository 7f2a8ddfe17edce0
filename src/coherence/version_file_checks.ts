/**
 * Whether the files that are there are a version table and its registry.
 *
 * @module
 */

import { SetupError } from "../setup_error.ts";
import type { OwnedFd } from "../sys/fd.ts";
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
  SLOT_COUNT_MAX,
  SLOT_COUNT_MIN,
  tableSize,
} from "./registry_layout.ts";
import {
  checkOwner,
  GIVE_ANOTHER,
  headerOf,
  registryPath,
  REMOVE_BOTH,
  statOf,
} from "./version_file_access.ts";

/** What a table's files agree on. */
export interface Made {
  readonly slotCount: number;
  readonly identityLo: number;
  readonly identityHi: number;
}

/**
 * Whether a registry was made to its end; if not, it is empty, or has the second half of its magic only. Any other file is somebody's, and is an error:
 * it would be overwritten.
 */
export function isMade(fd: OwnedFd, path: string): boolean {
  const { size } = statOf(fd, path);
  if (size === 0) return false;
  const words = headerOf(fd);
  if (words[REGISTRY_HEADER.MAGIC_HI >>> 2] !== REGISTRY_MAGIC_HI) throw noRegistry(path);
  const low = words[REGISTRY_HEADER.MAGIC_LO >>> 2];
  if (low !== 0 && low !== REGISTRY_MAGIC_LO) throw noRegistry(path);
  return low !== 0;
}

function noRegistry(path: string): SetupError {
  return new SetupError(
    `${path} is no registry of a version table (its magic is another); ${GIVE_ANOTHER}`,
  );
}

/** Of a registry that is made: what table belongs to it. */
export function checkRegistry(fd: OwnedFd, path: string): Made {
  const words = headerOf(fd);
  const field = (offset: number) => words[offset >>> 2]!;
  const layout = field(REGISTRY_HEADER.LAYOUT_VERSION);
  if (layout !== REGISTRY_LAYOUT_VERSION) {
    throw new SetupError(
      `${path} has layout version ${layout}, expected ${REGISTRY_LAYOUT_VERSION}: end the daemons that use it and remove it, or ${GIVE_ANOTHER}`,
    );
  }
  const slotCount = field(REGISTRY_HEADER.SLOT_COUNT);
  const isSize = slotCount >= SLOT_COUNT_MIN && slotCount <= SLOT_COUNT_MAX &&
    (slotCount & (slotCount - 1)) === 0;
  const { size } = statOf(fd, path);
  if (!isSize || size !== registrySize(slotCount)) {
    throw new SetupError(
      `${path} is damaged: ${size} bytes for ${slotCount} slots; end the daemons that use it and remove it, or ${GIVE_ANOTHER}`,
    );
  }
  return {
    slotCount,
    identityLo: field(REGISTRY_HEADER.IDENTITY_LO),
    identityHi: field(REGISTRY_HEADER.IDENTITY_HI),
  };
}

/** Whether a file begins as a version table does. */
export function isTable(fd: OwnedFd): boolean {
  const words = headerOf(fd);
  return words[VERSION_TABLE.MAGIC >>> 2] === VERSION_MAGIC_LO &&
    words[(VERSION_TABLE.MAGIC + 4) >>> 2] === VERSION_MAGIC_HI;
}

/** That a table is the one of a registry. */
export function checkTable(fd: OwnedFd, path: string, made: Made): void {
  checkOwner(fd, path);
  const { size } = statOf(fd, path);
  if (size === 0 || !isTable(fd)) {
    throw new SetupError(
      `${path} is no version table (its magic is another), but ${
        registryPath(path)
      } is the registry of one: remove that when no daemon uses it, or ${GIVE_ANOTHER}`,
    );
  }
  const expected = tableSize(made.slotCount);
  if (size !== expected) {
    throw new SetupError(
      `The version table ${path} has ${size} bytes, expected ${expected}: ${REMOVE_BOTH}`,
    );
  }
  const words = headerOf(fd);
  const field = (offset: number) => words[offset >>> 2]!;
  const layout = field(VERSION_TABLE.LAYOUT_VERSION);
  if (layout !== VERSION_TABLE_LAYOUT) {
    throw new SetupError(
      `The version table ${path} has layout version ${layout}, expected ${VERSION_TABLE_LAYOUT}: ${REMOVE_BOTH}`,
    );
  }
  const isOurs = field(VERSION_TABLE.SLOT_COUNT) === made.slotCount &&
    field(VERSION_TABLE.IDENTITY) === made.identityLo &&
    field(VERSION_TABLE.IDENTITY + 4) === made.identityHi;
  if (!isOurs) {
    throw new SetupError(
      `The version table ${path} does not belong to ${registryPath(path)}: ${REMOVE_BOTH}`,
    );
  }
}
