/**
 * The front end's side of a DAX window: asks for the device's shared-memory regions, and maps what the daemon hands over, by the strictest
 * rules that any monitor has (QEMU 11.1): no mapping over another, each removed as a whole, none beyond the end of a file,
 * none of a descriptor that is open for reading only.
 *
 * Written from vhost-user.rst (GET_SHMEM_CONFIG, SHMEM_MAP, SHMEM_UNMAP), not from the daemon.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Reply } from "./fuse_client.ts";
import { INIT, type InitReply, LINUX_INIT_FLAGS, OP } from "./fuse_wire.ts";
import { Guest, type GuestOptions } from "./guest.ts";
import {
  close,
  type Mapping,
  mapShared,
  receiveWithFds,
  sendWithFds,
  type Served,
  servedMeanwhile,
  shutdown,
} from "./libc.ts";
import { concat, viewOf, words } from "./little_endian.ts";
import { encodeMessage, FLAGS, mask, PROTOCOL, REQUEST } from "./vhost_messages.ts";

/** Requests of the back-end channel. */
export const SHMEM = { MAP: 9, UNMAP: 10 } as const;

/** fuse.h: FUSE_SETUPMAPPING_FLAG_*. */
export const MAP_FLAG = { WRITE: 1n, READ: 2n } as const;

/** fuse.h: FUSE_ATTR_DAX. */
export const ATTR_DAX = 2;

/** Linux names no handle in SETUPMAPPING. */
export const NO_HANDLE = 0xffff_ffff_ffff_ffffn;

/** What a front end with a window asks for; without memory slots, which would bound the number of mappings. */
export const DAX_PROTOCOL = mask(
  PROTOCOL.MQ,
  PROTOCOL.REPLY_ACK,
  PROTOCOL.BACKEND_REQ,
  PROTOCOL.BACKEND_SEND_FD,
  PROTOCOL.RESET_DEVICE,
  PROTOCOL.SHMEM,
);

/** One SHMEM_MAP or SHMEM_UNMAP. */
export interface ShmemRequest {
  readonly request: number;
  readonly offset: number;
  readonly length: number;
  readonly fileOffset: number;
  readonly writable: boolean;
}

/** A piece of a file that is in the window. */
export interface Mapped extends ShmemRequest {
  /** Counts up: a mapping that was made anew has another. */
  readonly serial: number;
  readonly memory: Mapping;
}

/** How strict it is, and what it does at what moment. */
export interface WindowRules {
  /** Maps descriptors that are open for reading only. QEMU does not. */
  mapsReadOnly: boolean;
  /** Runs before a request is looked at, instead of an answer if it returns false. The descriptor is -1 without one. */
  before: ((request: ShmemRequest, fd: number) => boolean) | null;
  /** A reason to refuse. */
  refuses: ((request: ShmemRequest) => boolean) | null;
}

/** What a shared-memory region other than the window does with a request: nothing, or why not. The descriptor is -1 without one. */
export type OtherRegion = (request: ShmemRequest, fd: number) => string | null;

/** The window and the channel through which the daemon fills it. Served whenever a test waits. */
export class ShmemWindow implements Served, Disposable {
  readonly fd: number;
  readonly size: number;
  /** By offset. */
  readonly mapped = new Map<number, Mapped>();
  readonly rules: WindowRules = { mapsReadOnly: false, before: null, refuses: null };
  /** Regions beside the window, by id: none, unless a test has one. */
  readonly otherRegions = new Map<number, OtherRegion>();
  /** Requests answered with an error, and why. */
  readonly refusals: string[] = [];
  /** All requests so far. */
  requests = 0;
  #serial = 0;
  #hungUp = false;

  constructor(fd: number, size: number) {
    this.fd = fd;
    this.size = size;
    servedMeanwhile.add(this);
  }

  /** Reads one request, does what it says, answers. */
  serve(): void {
    // While one is being served the next has to wait, as in any monitor.
    servedMeanwhile.delete(this);
    const message = receiveWithFds(this.fd, 12 + 40);
    if (message.bytes.length === 0) return;
    assert.equal(message.bytes.length, 52, "a request with 40 bytes of payload, sent at once");
    const view = viewOf(message.bytes);
    assert.equal(view.getUint32(4, true), FLAGS.VERSION | FLAGS.NEED_REPLY, "flags");
    assert.equal(view.getUint32(8, true), 40, "size of the payload");
    const [shmid, fileOffset, offset, length, flags] = [12, 20, 28, 36, 44].map((at) =>
      Number(view.getBigUint64(at, true))
    ) as [number, number, number, number, number];
    const request = view.getUint32(0, true);
    const other = this.otherRegions.get(shmid);
    assert.ok(shmid === 0 || other !== undefined, `region and padding ${shmid}`);
    assert.ok(flags <= 1, `flags ${flags}`);
    assert.ok(request === SHMEM.MAP || request === SHMEM.UNMAP, `request ${request}`);
    assert.equal(message.fds.length, request === SHMEM.MAP ? 1 : 0, "descriptors");
    this.requests += 1;
    const wanted = { request, offset, length, fileOffset, writable: flags === 1 };
    try {
      const fd = message.fds[0] ?? -1;
      if (other !== undefined) {
        this.answer(request, other(wanted, fd) === null ? 0n : 1n);
        return;
      }
      if (this.rules.before !== null && !this.rules.before(wanted, fd)) return;
      const refusal = this.#obey(wanted, fd);
      if (refusal !== null) this.refusals.push(refusal);
      this.answer(request, refusal === null ? 0n : 1n);
    } finally {
      for (const fd of message.fds) close(fd);
      if (!this.#hungUp) servedMeanwhile.add(this);
    }
  }

  /** Answers a request; or sends any answer at all. */
  answer(request: number, status: bigint): void {
    if (this.#hungUp) return;
    const flags = FLAGS.VERSION | FLAGS.REPLY;
    sendWithFds(this.fd, encodeMessage(request, flags, words(status)));
  }

  /** Does what is asked, or says why not. */
  #obey(wanted: ShmemRequest, fd: number): string | null {
    const { request, offset, length, fileOffset, writable } = wanted;
    if (this.rules.refuses?.(wanted) ?? false) return "the test wants it so";
    if (length === 0 || offset % 4096 !== 0 || length % 4096 !== 0 || fileOffset % 4096 !== 0) {
      return "it is not aligned";
    }
    if (offset + length > this.size) return "it is not in the window";
    if (request === SHMEM.UNMAP) {
      const present = this.mapped.get(offset);
      if (present?.length !== length) return "it is not one whole mapping";
      this.#drop(present);
      return null;
    }
    for (const present of this.mapped.values()) {
      if (present.offset < offset + length && offset < present.offset + present.length) {
        return "it lies over another mapping";
      }
    }
    if (Deno.statSync(`/proc/self/fd/${fd}`).size < fileOffset + length) {
      return "the file is too short";
    }
    const openFlags = /^flags:\s*(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`))!;
    const canWrite = (parseInt(openFlags[1]!, 8) & 3) === 2;
    if (!canWrite && (writable || !this.rules.mapsReadOnly)) return "it cannot be written to";
    const memory = mapShared(fd, length, fileOffset, writable);
    this.#serial += 1;
    this.mapped.set(offset, { ...wanted, serial: this.#serial, memory });
    return null;
  }

  /** Everything that is mapped, in order, as text: two of them are equal if nothing has happened in between. */
  record(): string[] {
    return [...this.mapped.values()].sort((a, b) => a.offset - b.offset).map((one) =>
      `${one.offset}+${one.length} from ${one.fileOffset}, ${one.serial}`
    );
  }

  /** The bytes of the window from an offset on, to the end of the mapping that is there. */
  bytes(offset: number): Uint8Array<ArrayBuffer> {
    for (const one of this.mapped.values()) {
      if (offset >= one.offset && offset < one.offset + one.length) {
        return new Uint8Array(one.memory.buffer, offset - one.offset);
      }
    }
    throw new Error(`nothing is mapped at ${offset}`);
  }

  /** Hangs up the channel, without closing the descriptor. */
  hangUp(): void {
    if (this.#hungUp) return;
    this.#hungUp = true;
    servedMeanwhile.delete(this);
    shutdown(this.fd);
  }

  #drop(one: Mapped): void {
    one.memory.unmap();
    this.mapped.delete(one.offset);
  }

  /** Hangs up, and unmaps everything. */
  [Symbol.dispose](): void {
    this.hangUp();
    for (const one of [...this.mapped.values()]) this.#drop(one);
    close(this.fd);
  }
}

/** A pretended guest that has a window. */
export class DaxGuest implements Disposable {
  private constructor(
    readonly guest: Guest,
    readonly window: ShmemWindow,
    readonly init: InitReply | null,
  ) {}

  /** Connects, asks for the window, sends INIT unless told otherwise. */
  static connect(socketPath: string, options: GuestOptions = {}): DaxGuest {
    const protocolFeatures = options.protocolFeatures ?? DAX_PROTOCOL;
    const guest = Guest.connect(socketPath, { ...options, protocolFeatures, init: false });
    const { frontend } = guest;
    assert.equal(frontend.protocolFeatures, protocolFeatures, "all is offered");
    const channel = frontend.setBackendReqFd();
    const [size = 0] = shmemSizes(frontend.ask(REQUEST.GET_SHMEM_CONFIG));
    const window = new ShmemWindow(channel, size);
    const init = options.init ?? true ? guest.fuse.init(options.initFlags ?? DAX_INIT) : null;
    return new DaxGuest(guest, window, init);
  }

  get fuse(): Guest["fuse"] {
    return this.guest.fuse;
  }

  /** SETUPMAPPING; what is not named is what Linux sends. */
  setup(nodeid: bigint, fields: SetupFields, client = this.fuse): Reply {
    return client.call(OP.SETUPMAPPING, nodeid, setupBody(fields), { room: 0 });
  }

  /** SETUPMAPPING that must succeed. */
  map(nodeid: bigint, offset: number, fileOffset: number, length: number): void {
    const reply = this.setup(nodeid, { offset, fileOffset, length });
    assert.equal(reply.error, 0, `error of SETUPMAPPING; refused: ${this.window.refusals}`);
  }

  /** REMOVEMAPPING of ranges [offset, length). */
  remove(...ranges: (readonly [bigint | number, bigint | number])[]): Reply {
    return this.fuse.call(OP.REMOVEMAPPING, 0n, removeBody(ranges), { room: 0 });
  }

  /** Hangs up and forgets everything. */
  [Symbol.dispose](): void {
    this.guest[Symbol.dispose]();
    this.window[Symbol.dispose]();
  }
}

/** What Linux offers in INIT when it has a window. */
export const DAX_INIT: bigint = LINUX_INIT_FLAGS | mask(INIT.MAP_ALIGNMENT, INIT.HAS_INODE_DAX);

/** struct fuse_setupmapping_in. */
export interface SetupFields {
  readonly offset?: bigint | number;
  readonly fileOffset?: bigint | number;
  readonly length?: bigint | number;
  readonly flags?: bigint;
  readonly fh?: bigint;
}

/** struct fuse_setupmapping_in: fh, foffset, len, flags, moffset. */
export function setupBody(fields: SetupFields): Uint8Array {
  return words(
    fields.fh ?? NO_HANDLE,
    BigInt(fields.fileOffset ?? 0),
    BigInt(fields.length ?? 2 << 20),
    fields.flags ?? (MAP_FLAG.READ | MAP_FLAG.WRITE),
    BigInt(fields.offset ?? 0),
  );
}

/** struct fuse_removemapping_in and as many fuse_removemapping_one, or as many as `count` says. */
export function removeBody(
  ranges: readonly (readonly [bigint | number, bigint | number])[],
  count = ranges.length,
): Uint8Array {
  return concat(words(count), ...ranges.map(([at, length]) => words(BigInt(at), BigInt(length))));
}

/** The reply to GET_SHMEM_CONFIG: the sizes of those regions that there are. */
export function shmemSizes(reply: Uint8Array): number[] {
  assert.equal(reply.length, 8 + 256 * 8, "size of the GET_SHMEM_CONFIG reply");
  const view = viewOf(reply);
  const sizes = Array.from({ length: 256 }, (_, id) => Number(view.getBigUint64(8 + 8 * id, true)));
  assert.equal(view.getUint32(4, true), 0, "padding");
  const present = sizes.filter((size) => size > 0);
  assert.equal(view.getUint32(0, true), present.length, "number of regions");
  return present;
}
