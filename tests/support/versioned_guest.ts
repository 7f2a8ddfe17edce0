/**
 * A pretended guest that reads the version table: the table is mapped through SHMEM_MAP of region 1, by the rules of
 * the strictest monitor, and INIT offers to understand versions.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createBody, type FuseClient, readBody, type RequestOptions, ROOT } from "./fuse_client.ts";
import { type InitReply, LINUX_INIT_FLAGS, OP } from "./fuse_wire.ts";
import { Guest, type GuestOptions } from "./guest.ts";
import { errno, LibcError, mapShared } from "./libc.ts";
import { concat, name, viewOf, words } from "./little_endian.ts";
import { DAX_PROTOCOL, SHMEM, type ShmemRequest, ShmemWindow } from "./shmem_frontend.ts";
import {
  readVersionedDirents,
  readVersionedEntry,
  SHARED_VERSIONS,
  TABLE_REGION,
  type VersionedDirent,
  type VersionedEntry,
  VersionTable,
} from "./version_table.ts";
import { REQUEST } from "./vhost_messages.ts";

/** How the guest is to be made. */
export interface VersionedGuestOptions extends GuestOptions {
  /** Refuses to map the table. */
  readonly refusesTable?: boolean;
}

/** A guest on one connection, with the table if the daemon gave it. */
export class VersionedGuest implements Disposable {
  /** What the daemon asked of region 1, in order. */
  readonly tableRequests: ShmemRequest[] = [];
  table: VersionTable | null = null;
  init: InitReply | null = null;
  #disposed = false;

  private constructor(
    readonly guest: Guest,
    readonly window: ShmemWindow,
    /** Sizes of all regions that there are, by id. */
    readonly regionSizes: ReadonlyMap<number, number>,
    refusesTable: boolean,
  ) {
    this.window.otherRegions.set(TABLE_REGION, (request, fd) => {
      this.tableRequests.push(request);
      return refusesTable ? "the test wants it so" : this.#obey(request, fd);
    });
  }

  /** Connects, asks for the regions, sends INIT with the flag unless told otherwise. */
  static connect(socketPath: string, options: VersionedGuestOptions = {}): VersionedGuest {
    const protocolFeatures = options.protocolFeatures ?? DAX_PROTOCOL;
    const guest = Guest.connect(socketPath, { ...options, protocolFeatures, init: false });
    assert.equal(guest.frontend.protocolFeatures, protocolFeatures, "all is offered");
    const channel = guest.frontend.setBackendReqFd();
    const sizes = regionSizes(guest.frontend.ask(REQUEST.GET_SHMEM_CONFIG));
    const window = new ShmemWindow(channel, sizes.get(0) ?? 0);
    const versioned = new VersionedGuest(guest, window, sizes, options.refusesTable ?? false);
    if (options.init ?? true) versioned.start(options.initFlags);
    return versioned;
  }

  /** INIT, as Linux would send it if it had the flag. */
  start(flags: bigint = LINUX_INIT_FLAGS | SHARED_VERSIONS): InitReply {
    return this.init = this.fuse.init(flags);
  }

  get fuse(): FuseClient {
    return this.guest.fuse;
  }

  /** Whether replies of this session have versions. */
  get isVersioned(): boolean {
    return this.init !== null && (this.init.flags & SHARED_VERSIONS) !== 0n;
  }

  /** The table, which must have been mapped. */
  get versions(): VersionTable {
    assert.ok(this.table !== null, "the table is mapped");
    return this.table;
  }

  #obey({ request, offset, length, fileOffset, writable }: ShmemRequest, fd: number) {
    if (request === SHMEM.UNMAP) {
      if (this.table === null || offset !== 0 || length !== this.table.size) return "not mapped so";
      this.#dropTable();
      return null;
    }
    if (this.table !== null) return "it lies over another mapping";
    if (offset + length > (this.regionSizes.get(TABLE_REGION) ?? 0)) return "not in the region";
    assert.equal(fileOffset, 0, "the table from its beginning");
    assert.ok(!writable, "the table is not for writing");
    assertReadOnly(fd, length);
    this.table = new VersionTable(fd, length);
    return null;
  }

  #dropTable(): void {
    this.table?.[Symbol.dispose]();
    this.table = null;
  }

  // --- requests whose replies have versions; each asserts success ---------------------------

  lookup(parent: bigint, entry: string): VersionedEntry {
    return readVersionedEntry(this.fuse.ok(OP.LOOKUP, parent, name(entry), { room: 144 }));
  }

  /** Follows names from the root; the root itself without any. */
  walk(...names: string[]): VersionedEntry {
    let found = this.lookup(ROOT, ".");
    for (const entry of names) found = this.lookup(found.entry.nodeid, entry);
    return found;
  }

  /** MKNOD, MKDIR, SYMLINK or LINK. */
  make(
    opcode: number,
    parent: bigint,
    body: Uint8Array,
    options: RequestOptions = {},
  ): VersionedEntry {
    return readVersionedEntry(this.fuse.ok(opcode, parent, body, { ...options, room: 144 }));
  }

  mkdir(parent: bigint, entry: string): VersionedEntry {
    return this.make(OP.MKDIR, parent, concat(words(0o755, 0), name(entry)));
  }

  link(nodeid: bigint, parent: bigint, entry: string): VersionedEntry {
    return this.make(OP.LINK, parent, concat(words(nodeid), name(entry)));
  }

  /** CREATE, or TMPFILE. */
  create(
    parent: bigint,
    entry: string,
    fields: { flags?: number; mode?: number; opcode?: number } = {},
    options: RequestOptions = {},
  ): VersionedEntry & { fh: bigint } {
    const opcode = fields.opcode ?? OP.CREATE;
    const body = this.fuse.ok(opcode, parent, createBody(entry, fields), { ...options, room: 160 });
    return { ...readVersionedEntry(body, 144), fh: viewOf(body).getBigUint64(128, true) };
  }

  /** All records of READDIRPLUS. */
  readdirplus(nodeid: bigint, size = 4096): VersionedDirent[] {
    const fh = this.fuse.opendir(nodeid);
    const all: VersionedDirent[] = [];
    for (;;) {
      const body = readBody(fh, all.at(-1)?.dirent.off ?? 0n, size);
      const part = readVersionedDirents(
        this.fuse.ok(OP.READDIRPLUS, nodeid, body, { room: size }),
      );
      if (part.length === 0) break;
      all.push(...part);
    }
    this.fuse.release(nodeid, fh, OP.RELEASEDIR);
    return all;
  }

  /** Hangs up and forgets everything. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.guest[Symbol.dispose]();
    this.window[Symbol.dispose]();
    this.#dropTable();
  }
}

/** A guest must not be able to write to the table: neither by this descriptor nor by a mapping of it. */
function assertReadOnly(fd: number, length: number): void {
  const flags = /^flags:\s*(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`))!;
  assert.equal(parseInt(flags[1]!, 8) & 3, 0, "access mode of the table's descriptor");
  assert.throws(
    () => mapShared(fd, length),
    (error) => error instanceof LibcError && error.code === errno.EACCES,
  );
}

/** The reply to GET_SHMEM_CONFIG: the sizes of those regions that there are, by id. */
export function regionSizes(reply: Uint8Array): Map<number, number> {
  assert.equal(reply.length, 8 + 256 * 8, "size of the GET_SHMEM_CONFIG reply");
  const view = viewOf(reply);
  const sizes = new Map<number, number>();
  for (let id = 0; id < 256; id += 1) {
    const size = Number(view.getBigUint64(8 + 8 * id, true));
    if (size > 0) sizes.set(id, size);
  }
  assert.equal(view.getUint32(0, true), sizes.size, "number of regions");
  return sizes;
}
