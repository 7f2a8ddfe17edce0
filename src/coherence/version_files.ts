/**
 * The two files that all daemons of a host share: the version table, which guests see, and the registry, which they do not. The first daemon
 * makes them, with all their memory, since a page that cannot be had later would be SIGBUS.
 *
 * @module
 */

import type { VersionTableConfig } from "../config.ts";
import { SetupError } from "../setup_error.ts";
import { O_NOFOLLOW } from "../sys/architecture.ts";
import { EACCES, EEXIST, ELOOP, ENOENT, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import {
  LOCK_EX,
  LOCK_UN,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  S_IFMT,
  S_IFREG,
} from "../wire/linux.ts";
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

const encoder = new TextEncoder();
/** Nobody but the daemons' user may look or write. */
const MODE = 0o600;

/** The registry that belongs to a table. */
export function registryPath(tablePath: string): string {
  return `${tablePath}.registry`;
}

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
    this.table = new Mapping(tableFd.number, 0, tableSize(slotCount));
    this.registry = new Mapping(registryFd.number, 0, registrySize(slotCount));
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
      const table = openFile(path, O_RDWR);
      checkTable(table, path, made);
      const files = new VersionFiles(path, registry, table, made.slotCount);
      table.close();
      return files;
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

  close(): void {
    this.table.unmap();
    this.registry.unmap();
    this.guestFd.close();
    this.registryFd.close();
  }
}

interface Made {
  readonly slotCount: number;
  readonly identityLo: number;
  readonly identityHi: number;
}

/**
 * Opens or creates the registry, and locks it (flock(2)) while it is made or looked at. The kernel drops the lock if we are killed: whoever comes next
 * finds no magic, and begins again.
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
    libc.flock(fd.number, LOCK_EX);
    const { dev, ino } = statOf(fd, path);
    if (isFile(path, dev, ino ?? 0)) return fd;
    // Whoever had the lock has failed and taken the file away.
    fd.close();
  }
}

function isFile(path: string, device: number, inode: number): boolean {
  try {
    const { dev, ino } = Deno.statSync(path);
    return dev === device && ino === inode;
  } catch {
    return false;
  }
}

function openFile(path: string, flags: number): OwnedFd {
  const fd = status(
    libc.open(encoder.encode(`${path}\0`), flags | O_NOFOLLOW | O_CLOEXEC, MODE),
  );
  if (fd >= 0) return new OwnedFd(fd);
  let why = errnoName(fd);
  if (fd === -EACCES) why += ": it belongs to somebody else; give another with --version-table";
  if (fd === -ELOOP) why += ": it is a symbolic link";
  if (fd === -ENOENT) why += (flags & O_CREAT) !== 0 ? ": no such directory" : "";
  throw new SetupError(`The version table's file ${path} cannot be opened: ${why}`);
}

function statOf(fd: OwnedFd, path: string): Deno.FileInfo {
  try {
    return Deno.statSync(`/proc/self/fd/${fd.number}`);
  } catch (error) {
    throw new SetupError(`The version table's file ${path}: ${(error as Error).message}`);
  }
}

/** Somebody else's file could be cut short at any time, or lie. */
function checkOwner(fd: OwnedFd, path: string): void {
  const info = statOf(fd, path);
  if (((info.mode ?? 0) & S_IFMT) !== S_IFREG) {
    throw new SetupError(`The version table's file ${path} is not a regular file`);
  }
  if (info.uid !== libc.geteuid()) {
    throw new SetupError(
      `The version table's file ${path} belongs to user ${info.uid}, not to ${libc.geteuid()}: give another with --version-table`,
    );
  }
  if (((info.mode ?? 0) & 0o077) !== 0) {
    const mode = ((info.mode ?? 0) & 0o777).toString(8);
    throw new SetupError(
      `The version table's file ${path} has mode ${mode}, expected 600: others could change versions`,
    );
  }
}

/** Whether the registry was made to its end; if not, it is empty, or nothing but zeroes. */
function isMade(fd: OwnedFd, path: string): boolean {
  const { size } = statOf(fd, path);
  if (size === 0) return false;
  if (size < REGISTRY_HEADER.SIZE) {
    throw new SetupError(`${path} is damaged: it has ${size} bytes; remove it`);
  }
  return withHeader(fd, (words) => words.some((word) => word !== 0));
}

function withHeader<T>(fd: OwnedFd, read: (words: Uint32Array) => T): T {
  const header = new Mapping(fd.number, 0, REGISTRY_HEADER.SIZE);
  try {
    return read(header.memory.u32.slice());
  } finally {
    header.unmap();
  }
}

function checkRegistry(fd: OwnedFd, path: string): Made {
  const words = withHeader(fd, (all) => all);
  const field = (offset: number) => words[offset >>> 2]!;
  if (
    field(REGISTRY_HEADER.MAGIC_LO) !== REGISTRY_MAGIC_LO ||
    field(REGISTRY_HEADER.MAGIC_HI) !== REGISTRY_MAGIC_HI
  ) throw new SetupError(`${path} is no registry of a version table (its magic is another)`);
  const layout = field(REGISTRY_HEADER.LAYOUT_VERSION);
  if (layout !== REGISTRY_LAYOUT_VERSION) {
    throw new SetupError(
      `${path} has layout version ${layout}, expected ${REGISTRY_LAYOUT_VERSION}: end the daemons that use it and remove it, or give another with --version-table`,
    );
  }
  const slotCount = field(REGISTRY_HEADER.SLOT_COUNT);
  const isSize = slotCount >= SLOT_COUNT_MIN && slotCount <= SLOT_COUNT_MAX &&
    (slotCount & (slotCount - 1)) === 0;
  const size = statOf(fd, path).size;
  if (!isSize || size !== registrySize(slotCount)) {
    throw new SetupError(
      `${path} is damaged: ${size} bytes for ${slotCount} slots; end the daemons that use it and remove it`,
    );
  }
  return {
    slotCount,
    identityLo: field(REGISTRY_HEADER.IDENTITY_LO),
    identityHi: field(REGISTRY_HEADER.IDENTITY_HI),
  };
}

function checkTable(fd: OwnedFd, path: string, made: Made): void {
  checkOwner(fd, path);
  const { size } = statOf(fd, path);
  if (size !== tableSize(made.slotCount)) {
    throw new SetupError(
      `The version table ${path} has ${size} bytes, expected ${
        tableSize(made.slotCount)
      }: end the daemons that use it and remove it and its registry`,
    );
  }
  const words = withHeader(fd, (all) => all);
  const field = (offset: number) => words[offset >>> 2]!;
  if (
    field(VERSION_TABLE.MAGIC) !== VERSION_MAGIC_LO ||
    field(VERSION_TABLE.MAGIC + 4) !== VERSION_MAGIC_HI
  ) throw new SetupError(`${path} is no version table (its magic is another)`);
  const layout = field(VERSION_TABLE.LAYOUT_VERSION);
  if (layout !== VERSION_TABLE_LAYOUT) {
    throw new SetupError(
      `The version table ${path} has layout version ${layout}, expected ${VERSION_TABLE_LAYOUT}`,
    );
  }
  if (
    field(VERSION_TABLE.SLOT_COUNT) !== made.slotCount ||
    field(VERSION_TABLE.IDENTITY) !== made.identityLo ||
    field(VERSION_TABLE.IDENTITY + 4) !== made.identityHi
  ) {
    throw new SetupError(
      `The version table ${path} does not belong to ${
        registryPath(path)
      }: end the daemons that use them and remove both`,
    );
  }
}

/** Makes the table, then fills in the registry, whose magic comes last. */
function makeFiles(registry: OwnedFd, path: string, slotCount: number): Made {
  const [identityLo, identityHi] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [
    number,
    number,
  ];
  removeOldTable(path);
  const table = createFile(path);
  try {
    allocate(table, tableSize(slotCount), path);
    allocate(registry, registrySize(slotCount), registryPath(path));
    const tableMapping = new Mapping(table.number, 0, tableSize(slotCount));
    const words = tableMapping.memory.u32;
    words[VERSION_TABLE.MAGIC >>> 2] = VERSION_MAGIC_LO;
    words[(VERSION_TABLE.MAGIC + 4) >>> 2] = VERSION_MAGIC_HI;
    words[VERSION_TABLE.LAYOUT_VERSION >>> 2] = VERSION_TABLE_LAYOUT;
    words[VERSION_TABLE.SLOT_COUNT >>> 2] = slotCount;
    words[VERSION_TABLE.IDENTITY >>> 2] = identityLo;
    words[(VERSION_TABLE.IDENTITY + 4) >>> 2] = identityHi;
    tableMapping.unmap();
    const header = new Mapping(registry.number, 0, REGISTRY_HEADER.SIZE);
    const fields = header.memory.u32;
    fields[REGISTRY_HEADER.LAYOUT_VERSION >>> 2] = REGISTRY_LAYOUT_VERSION;
    fields[REGISTRY_HEADER.SLOT_COUNT >>> 2] = slotCount;
    fields[REGISTRY_HEADER.IDENTITY_LO >>> 2] = identityLo;
    fields[REGISTRY_HEADER.IDENTITY_HI >>> 2] = identityHi;
    fields[REGISTRY_HEADER.MAGIC_HI >>> 2] = REGISTRY_MAGIC_HI;
    Atomics.store(fields, REGISTRY_HEADER.MAGIC_LO >>> 2, REGISTRY_MAGIC_LO);
    header.unmap();
  } catch (error) {
    // Half a table is in nobody's way.
    libc.ftruncate(registry.number, 0n);
    libc.unlink(encoder.encode(`${path}\0`));
    libc.unlink(encoder.encode(`${registryPath(path)}\0`));
    throw error;
  } finally {
    table.close();
  }
  return { slotCount, identityLo, identityHi };
}

/** What is left of a table without a registry goes; anything else stays, and is in the way. */
function removeOldTable(path: string): void {
  const fd = status(libc.open(encoder.encode(`${path}\0`), O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0));
  if (fd === -ENOENT) return;
  if (fd < 0) throw inTheWay(path, errnoName(fd));
  const old = new OwnedFd(fd);
  try {
    checkOwner(old, path);
    const { size } = statOf(old, path);
    // A file shorter than a page can be mapped whole as well: the rest of the page is zeroes.
    const isTable = size === 0 ||
      withHeader(
        old,
        ([low, high]) =>
          (low === 0 && high === 0 && size >= tableSize(SLOT_COUNT_MIN)) ||
          (low === VERSION_MAGIC_LO && high === VERSION_MAGIC_HI),
      );
    if (!isTable) throw inTheWay(path, "it is there and is no version table");
  } finally {
    old.close();
  }
  libc.unlink(encoder.encode(`${path}\0`));
}

function inTheWay(path: string, why: string): SetupError {
  return new SetupError(
    `The version table ${path} cannot be made: ${why}; give another with --version-table`,
  );
}

function createFile(path: string): OwnedFd {
  const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const fd = status(libc.open(encoder.encode(`${path}\0`), flags, MODE));
  if (fd >= 0) return new OwnedFd(fd);
  throw inTheWay(path, fd === -EEXIST ? "it is there and cannot be removed" : errnoName(fd));
}

/** Real memory for all of a file, and nothing in it. */
function allocate(fd: OwnedFd, size: number, path: string): void {
  let result = status(libc.ftruncate(fd.number, 0n));
  if (result === 0) result = status(libc.fallocate(fd.number, 0, 0n, BigInt(size)));
  if (result === 0) return;
  throw new SetupError(
    `No room for the ${(size / 2 ** 20).toFixed(1)} MiB of ${path}: ${
      errnoName(result)
    }; use fewer --version-slots or another place with --version-table`,
  );
}
