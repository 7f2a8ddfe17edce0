/**
 * The two files that all daemons of a host share: the version table, which guests see, and the registry, which they do not. The first daemon
 * makes them, with all their memory, since a page that cannot be had later would be SIGBUS.
 *
 * @module
 */

import type { VersionTableConfig } from "../config.ts";
import { SetupError } from "../setup_error.ts";
import { EINTR, errnoName } from "../sys/errno.ts";
import type { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { LOCK_EX, LOCK_UN, O_CREAT, O_RDONLY, O_RDWR } from "../wire/linux.ts";
import { registrySize, tableSize } from "./registry_layout.ts";
import {
  checkOwner,
  GIVE_ANOTHER,
  isFile,
  openFile,
  registryPath,
  statOf,
} from "./version_file_access.ts";
import { checkRegistry, checkTable, isMade } from "./version_file_checks.ts";
import { makeFiles } from "./version_file_making.ts";

/** Both files, open and mapped. */
export class VersionFiles {
  readonly path: string;
  readonly slotCount: number;
  readonly table: Mapping;
  readonly registry: Mapping;
  /** The table opened for reading only, to be handed to front ends. */
  readonly guestFd: OwnedFd;
  /** This daemon's own opening of the registry: locks on it are this daemon's. */
  readonly registryFd: OwnedFd;
  readonly #device: number;
  readonly #inode: number;

  private constructor(path: string, registryFd: OwnedFd, tableFd: OwnedFd, slotCount: number) {
    this.path = path;
    this.slotCount = slotCount;
    this.registryFd = registryFd;
    this.table = map(tableFd, path, tableSize(slotCount));
    this.registry = map(registryFd, registryPath(path), registrySize(slotCount));
    this.guestFd = openFile(path, O_RDONLY);
    const { dev, ino } = statOf(tableFd, path);
    this.#device = dev;
    this.#inode = ino ?? 0;
  }

  /** Opens the files, making them if there are none. Throws {@linkcode SetupError} for what the operator has to mend. */
  static open({ path, slotCount }: Omit<VersionTableConfig, "watchHost">): VersionFiles {
    const registry = lockRegistry(registryPath(path));
    try {
      const made = isMade(registry, registryPath(path))
        ? checkRegistry(registry, registryPath(path))
        : makeFiles(registry, path, slotCount);
      using table = openFile(path, O_RDWR);
      checkTable(table, path, made);
      return new VersionFiles(path, registry, table, made.slotCount);
    } catch (error) {
      registry.close();
      throw error;
    } finally {
      if (!registry.closed) libc.flock(registry.number, LOCK_UN);
    }
  }

  /** Whether the path still names this table: if not, daemons that come later share another one. */
  get isCurrent(): boolean {
    return isFile(this.path, this.#device, this.#inode);
  }

  /** Where the table's file is, to be found again by whoever sees the path. */
  get identity(): { readonly device: number; readonly inode: number } {
    return { device: this.#device, inode: this.#inode };
  }

  close(): void {
    this.table.unmap();
    this.registry.unmap();
    this.guestFd.close();
    this.registryFd.close();
  }
}

/**
 * Opens or creates the registry, and locks it (flock(2)) while it is made or looked at. The kernel drops the lock if we are killed: whoever comes next
 * finds half a magic, and begins again.
 */
function lockRegistry(path: string): OwnedFd {
  for (;;) {
    const fd = openFile(path, O_RDWR | O_CREAT);
    try {
      checkOwner(fd, path);
    } catch (error) {
      fd.close();
      throw error;
    }
    lock(fd, path);
    const { dev, ino } = statOf(fd, path);
    if (isFile(path, dev, ino ?? 0)) return fd;
    // Whoever had the lock has failed and taken the file away.
    fd.close();
  }
}

function lock(fd: OwnedFd, path: string): void {
  for (;;) {
    const result = status(libc.flock(fd.number, LOCK_EX));
    if (result === 0) return;
    if (result === -EINTR) continue;
    fd.close();
    throw new SetupError(`${path} cannot be locked: ${errnoName(result)}; ${GIVE_ANOTHER}`);
  }
}

function map(fd: OwnedFd, path: string, size: number): Mapping {
  try {
    return new Mapping(fd.number, 0, size);
  } catch (error) {
    throw new SetupError(`The version table's file ${path}: ${(error as Error).message}`);
  }
}
