/**
 * Where a benchmark works: one daemon's share, with the files that the rows need.
 *
 * @module
 */

import type { Handle } from "../guest/client/files.ts";
import { open, release } from "../guest/client/files.ts";
import type { FuseClient } from "../guest/client/fuse_client.ts";
import { lookup, rmdir, unlink } from "../guest/client/names.ts";
import { create, mkdir } from "../guest/client/nodes.ts";
import { beginWrite } from "../guest/client/files.ts";
import { AttrReply, EntryReply, OpenReply } from "../guest/client/replies.ts";
import type { Session } from "../guest/session.ts";
import { DaemonError } from "../guest/daemon_error.ts";
import { errnoName } from "../sys/errno.ts";
import { FUSE_ROOT_ID, WRITE_OUT } from "../wire/fuse.ts";
import { O_CREAT, O_EXCL, O_RDWR, S_IFDIR, S_IFREG } from "../wire/linux.ts";

const encoder = new TextEncoder();
/** Bytes of the file that is read and written at random places. */
export const DATA_FILE_SIZE: number = 64 * 1024 * 1024;
const MIB = 1024 * 1024;
/** Names in the directory that is listed. */
export const LISTED_COUNT = 1000;

/** A name's bytes. */
export function nameBytes(name: string): Uint8Array {
  return encoder.encode(name);
}

/** One daemon's place. */
export class Place {
  readonly session: Session;
  readonly client: FuseClient;
  readonly entry: EntryReply = new EntryReply();
  readonly attr: AttrReply = new AttrReply();
  readonly opened: OpenReply = new OpenReply();
  /** Guest memory for data: 64 pieces of 4 KiB, or the first of 1 MiB pieces. */
  readonly buffer: number;
  readonly #name: string;
  /** The benchmark's directory. */
  directory = 0;
  /** A directory with {@linkcode LISTED_COUNT} names. */
  listed = 0;
  dataFile = 0;
  dataHandle: Handle = { fhLow: 0, fhHigh: 0, flags: 0 };

  constructor(session: Session, buffer: number) {
    this.session = session;
    this.client = session.client;
    this.buffer = buffer;
    this.#name = `virtiofsd-ts-bench-${crypto.randomUUID().slice(0, 8)}`;
  }

  /** The benchmark's directory, from the share's root. */
  get path(): string {
    return `/${this.#name}`;
  }

  /** Makes the files. */
  prepare(): void {
    this.directory = this.makeDirectory(FUSE_ROOT_ID, this.#name);
    this.listed = this.makeDirectory(this.directory, "listed");
    for (let i = 0; i < LISTED_COUNT; i++) this.makeFile(this.listed, `name-${i}`);
    this.dataFile = this.makeFile(this.directory, "data", true);
    this.must(open(this.client, this.dataFile, O_RDWR, false, false, this.opened), "OPEN");
    this.dataHandle = { ...this.opened, flags: O_RDWR };
    const size = this.client.agreement.writeSizeMax;
    this.session.client.driver.bytes.u8.fill(0x5a, this.buffer, this.buffer + MIB);
    for (let at = 0; at < DATA_FILE_SIZE; at += size) {
      const request = beginWrite(
        this.client,
        this.dataFile,
        this.dataHandle,
        at,
        size,
        0,
        null,
      );
      request.addData(this.buffer, size);
      request.expect(WRITE_OUT.SIZE);
      const status = this.client.call(request);
      this.client.end(request);
      this.must(status, "WRITE");
    }
  }

  /** Removes the files. */
  clean(): void {
    release(this.client, this.dataFile, this.dataHandle, false, null);
    unlink(this.client, this.directory, nameBytes("data"));
    for (let i = 0; i < LISTED_COUNT; i++) {
      unlink(this.client, this.listed, nameBytes(`name-${i}`));
    }
    rmdir(this.client, this.directory, nameBytes("listed"));
    rmdir(this.client, FUSE_ROOT_ID, nameBytes(this.#name));
  }

  /** A new directory's nodeid. */
  makeDirectory(parent: number, name: string): number {
    const place = { parent, groupId: 0, name: nameBytes(name) };
    this.must(mkdir(this.client, place, S_IFDIR | 0o755, this.entry), "MKDIR");
    return this.entry.nodeid;
  }

  /** A new, empty file's nodeid; unless it is kept, the guest forgets it at once. */
  makeFile(parent: number, name: string, keep = false): number {
    const place = { parent, groupId: 0, name: nameBytes(name) };
    const flags = O_CREAT | O_EXCL | O_RDWR;
    const { client, entry, opened } = this;
    this.must(create(client, place, flags, S_IFREG | 0o644, entry, opened), "CREATE");
    const { nodeid } = entry;
    release(client, nodeid, { ...opened, flags }, false, null);
    if (!keep) client.forget(nodeid, 1);
    return nodeid;
  }

  /** The nodeid of a name; the caller forgets it. */
  find(parent: number, name: string): number {
    this.must(lookup(this.client, parent, nameBytes(name), this.entry), "LOOKUP");
    return this.entry.nodeid;
  }

  /** Throws a {@linkcode DaemonError} for a negative errno. */
  must(status: number, what: string): number {
    if (status < 0) throw new DaemonError(`${what} failed with ${errnoName(status)}`);
    return status;
  }
}
