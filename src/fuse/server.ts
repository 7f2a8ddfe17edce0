/**
 * Decodes one request, calls the file system, encodes the reply. Knows FUSE and nothing of rings or sockets.
 *
 * @module
 */

import { assert } from "../assert.ts";
import {
  EAGAIN,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  ENAMETOOLONG,
  ENOSYS,
  EPROTO,
  errnoName,
  type Status,
} from "../sys/errno.ts";
import * as wire from "../wire/fuse.ts";
import { IN_HEADER, INIT_IN, INIT_OUT, Opcode, OUT_HEADER } from "../wire/fuse.ts";
import { PATH_MAX } from "../wire/linux.ts";
import { ENTRYVER_OUT, FUSE2_SHARED_VERSIONS } from "../wire/shared_versions.ts";
import type { RequestBuffers } from "./buffers.ts";
import { type FileSystem, type Negotiation, PENDING } from "./file_system.ts";
import { checkName, isDot, isDotDot } from "./names.ts";
import { NameRule, opcodeName, type Operation, OPERATIONS } from "./operations.ts";
import { Reply } from "./reply.ts";
import { Request } from "./request.ts";
import type { Session } from "./session.ts";

/** Largest WRITE and READ: 256 pages, the most a Linux guest asks for by default. */
export const MAX_WRITE = 1024 * 1024;
const PAGE_SIZE = 4096;
/** Since 7.38 the header says how long the extensions are; 7.36 and 7.37 (Linux 5.17 to 6.2) put a security context behind the names without saying so. */
const MINOR_WITH_EXTLEN = 38;
/** What Rust virtiofsd answers: as many background requests as the ring holds. */
const MAX_BACKGROUND = 65535;
const CONGESTION_THRESHOLD = 49149;

/** {@linkcode FuseServer.handle}'s answer for a request that must be handed in again later. */
export const NOT_YET = -1;

/** What the server tells the outside. */
export interface ServerHooks {
  /** One line per unusual event. */
  warn(message: string): void;
  /** One line per request and reply, or null to have none (the default: it is slow). */
  trace: ((line: string) => void) | null;
  /** A request has been taken and decoded. */
  begin(opcode: number, nodeid: number): void;
  /** It has been answered: bytes are those of the request and of the reply. */
  count(opcode: number, status: Status, bytesIn: number, bytesOut: number): void;
}

/** One per queue. */
export class FuseServer {
  readonly #fs: FileSystem;
  readonly #session: Session;
  readonly #hooks: ServerHooks;
  readonly #request = new Request();
  readonly #reply = new Reply();

  constructor(fs: FileSystem, session: Session, hooks: ServerHooks) {
    this.#fs = fs;
    this.#session = session;
    this.#hooks = hooks;
    fs.attach(session);
  }

  /**
   * Serves one request. Returns the bytes written to the reply buffers (what goes into the used ring), or
   * {@linkcode NOT_YET}: nothing was written, and the same buffers are to be handed in again later.
   */
  handle(buffers: RequestBuffers): number {
    const request = this.#request;
    const reply = this.#reply;
    reply.clear(buffers);
    let loaded = request.load(buffers);
    if (buffers.hasUnreachable) loaded = -EFAULT;
    if (this.#hooks.trace !== null) this.#hooks.trace(this.#requestLine());
    const { opcode } = request;
    this.#hooks.begin(opcode, request.nodeid);
    const result = loaded < 0 ? loaded : this.#guarded();
    if (result === PENDING) return NOT_YET;
    const isForget = opcode === Opcode.FORGET || opcode === Opcode.BATCH_FORGET;
    const size = isForget ? 0 : this.#finish(result);
    this.#hooks.count(opcode, result, buffers.readableSize, size);
    if (this.#hooks.trace !== null && !isForget) {
      const outcome = result < 0 ? errnoName(result) : `${reply.size + reply.directSize} bytes`;
      this.#hooks.trace(`tx ${opcodeName(opcode)}: ${outcome}`);
    }
    return size;
  }

  /** The guest's number of the request that was handed in last, where it matters to tell one from another. */
  get unique(): number {
    return this.#request.uniqueLo;
  }

  /**
   * Answers a request that has been waiting, because its queue stops. Returns the bytes written. Linux asks for a mapping once more after
   * EAGAIN if it was for a page fault, where anything else would be SIGBUS.
   */
  interrupt(buffers: RequestBuffers): number {
    this.#reply.clear(buffers);
    this.#request.load(buffers);
    return this.#finish(this.#request.opcode === Opcode.SETUPMAPPING ? -EAGAIN : -EINTR);
  }

  /** The front end has gone, and no queue has a request in progress. */
  disconnect(): void {
    this.end();
    this.#fs.disconnect();
  }

  /** Ends the session as DESTROY does: at a disconnect or a reset. */
  end(): void {
    this.#session.end();
    try {
      this.#fs.destroy();
    } catch (error) {
      this.#hooks.warn(
        `Ending the session failed unexpectedly: ${(error as Error)?.stack ?? error}`,
      );
    }
  }

  /** A bug of ours, or of a library user's file system, must not take the share down: the guest gets EIO, the operator the reason. */
  #guarded(): Status {
    try {
      const result = this.#dispatch();
      const { size, directSize, sizeMax } = this.#reply;
      assert(result !== 0 || size + directSize <= sizeMax, "a reply fits its room");
      return result;
    } catch (error) {
      const name = opcodeName(this.#request.opcode);
      this.#hooks.warn(`${name} failed unexpectedly: ${(error as Error)?.stack ?? error}`);
      return -EIO;
    }
  }

  #dispatch(): Status {
    const request = this.#request;
    switch (request.opcode) {
      case Opcode.INIT:
        return this.#init();
      case Opcode.DESTROY:
        this.end();
        return 0;
      case Opcode.FORGET:
        return this.#forget();
      case Opcode.BATCH_FORGET:
        return this.#batchForget();
      case Opcode.INTERRUPT:
        // Nothing we run can be interrupted. Linux sends none here; a guest that left room for a reply learns
        // from ENOSYS not to ask again.
        return -ENOSYS;
    }
    const operation = OPERATIONS[request.opcode];
    if (operation === undefined) return -ENOSYS;
    if (!this.#session.active) return -EIO;
    return this.#run(operation);
  }

  #run(operation: Operation): Status {
    const request = this.#request;
    const reply = this.#reply;
    let { inSize } = operation;
    if (
      request.opcode === Opcode.SETXATTR && !this.#session.has(wire.FUSE_SETXATTR_EXT)
    ) inSize = wire.SETXATTR_IN.COMPAT_SIZE;
    const labelled = operation.creates && this.#session.has2(wire.FUSE2_SECURITY_CTX) &&
      this.#session.minor < MINOR_WITH_EXTLEN;
    if (!request.parse(inSize, operation.nameCount, labelled)) return -EINVAL;
    const named = this.#checkNames(operation);
    if (named < 0) return named;
    let { outSize } = operation;
    if (operation.names && this.#session.has2(FUSE2_SHARED_VERSIONS)) outSize += ENTRYVER_OUT.SIZE;
    if (outSize > reply.sizeMax) return -EINVAL;
    const result = operation.run(this.#fs, request, reply);
    if (result === 0 && outSize >= 0) {
      reply.size = outSize;
      reply.directSize = 0;
    }
    return result;
  }

  #checkNames(operation: Operation): Status {
    if (operation.nameCount === 0) return 0;
    const request = this.#request;
    const { u8 } = request.bytes;
    const { nameOffset, nameSize } = request;
    if (operation.nameRule !== NameRule.Any) {
      const dots = operation.nameRule === NameRule.Lookup &&
        (isDot(u8, nameOffset, nameSize) || isDotDot(u8, nameOffset, nameSize));
      const status = dots ? 0 : checkName(u8, nameOffset, nameSize);
      if (status < 0) return status;
    }
    if (operation.nameCount === 1) return 0;
    if (operation.secondIsComponent) {
      return checkName(u8, request.name2Offset, request.name2Size);
    }
    if (request.name2Size === 0) return -EINVAL;
    return request.name2Size < PATH_MAX ? 0 : -ENAMETOOLONG;
  }

  #init(): Status {
    const request = this.#request;
    const reply = this.#reply;
    if (!request.parse(INIT_IN.COMPAT_SIZE, 0)) return -EINVAL;
    if (reply.sizeMax < INIT_OUT.SIZE) return -EINVAL;
    const major = request.u32(INIT_IN.MAJOR);
    const minor = Math.min(request.u32(INIT_IN.MINOR), wire.FUSE_KERNEL_MINOR_VERSION);
    reply.zero(0, INIT_OUT.SIZE);
    reply.setU32(INIT_OUT.MAJOR, wire.FUSE_KERNEL_VERSION);
    reply.setU32(INIT_OUT.MINOR, wire.FUSE_KERNEL_MINOR_VERSION);
    reply.size = INIT_OUT.SIZE;
    // fuse.h: on a newer major the guest asks again with ours, on an older one nothing can be agreed.
    if (major > wire.FUSE_KERNEL_VERSION) return 0;
    if (major < wire.FUSE_KERNEL_VERSION || minor < wire.FUSE_MINOR_VERSION_MIN) {
      this.#hooks.warn(
        `The guest speaks FUSE ${major}.${minor}; expected ${wire.FUSE_KERNEL_VERSION}.${wire.FUSE_MINOR_VERSION_MIN} or later`,
      );
      return -EPROTO;
    }
    this.end();
    const offered = request.u32(INIT_IN.FLAGS);
    const extended = (offered & wire.FUSE_INIT_EXT) !== 0 &&
      request.dataSize >= INIT_IN.FLAGS2 + 4 - INIT_IN.COMPAT_SIZE;
    const offered2 = extended ? request.u32(INIT_IN.FLAGS2) : 0;
    const negotiation: Negotiation = {
      minor,
      offered,
      offered2,
      wanted: wire.FUSE_INIT_EXT | wire.FUSE_MAX_PAGES | wire.FUSE_BIG_WRITES,
      wanted2: 0,
      maxWrite: MAX_WRITE,
      mapAlignment: 0,
    };
    const status = this.#fs.init(negotiation);
    if (status !== 0) return status;
    assert(negotiation.maxWrite <= MAX_WRITE, "maxWrite <= MAX_WRITE");
    const flags = (negotiation.wanted & offered) >>> 0;
    const flags2 = (negotiation.wanted2 & offered2) >>> 0;
    reply.setU32(INIT_OUT.MAX_READAHEAD, request.u32(INIT_IN.MAX_READAHEAD));
    reply.setU32(INIT_OUT.FLAGS, flags);
    reply.setU32(INIT_OUT.FLAGS2, flags2);
    reply.setU16(INIT_OUT.MAX_BACKGROUND, MAX_BACKGROUND);
    reply.setU16(INIT_OUT.CONGESTION_THRESHOLD, CONGESTION_THRESHOLD);
    reply.setU32(INIT_OUT.MAX_WRITE, negotiation.maxWrite);
    reply.setU32(INIT_OUT.TIME_GRAN, 1);
    reply.setU16(INIT_OUT.MAX_PAGES, Math.ceil(negotiation.maxWrite / PAGE_SIZE));
    if ((flags & wire.FUSE_MAP_ALIGNMENT) !== 0) {
      reply.setU16(INIT_OUT.MAP_ALIGNMENT, negotiation.mapAlignment);
    }
    this.#session.begin(minor, flags, flags2);
    return 0;
  }

  #forget(): Status {
    const request = this.#request;
    if (!request.parse(wire.FORGET_IN.SIZE, 0)) return -EINVAL;
    if (this.#session.active) {
      this.#fs.forget(request.nodeid, request.u64(wire.FORGET_IN.NLOOKUP));
    }
    return 0;
  }

  #batchForget(): Status {
    const request = this.#request;
    if (!request.parse(wire.BATCH_FORGET_IN.SIZE, 0)) return -EINVAL;
    const count = request.u32(wire.BATCH_FORGET_IN.COUNT);
    if (count * wire.FORGET_ONE.SIZE > request.dataSize) return -EINVAL;
    if (!this.#session.active) return 0;
    for (let i = 0; i < count; i++) {
      const one = wire.BATCH_FORGET_IN.SIZE + i * wire.FORGET_ONE.SIZE;
      const nodeid = request.u64(one + wire.FORGET_ONE.NODEID);
      this.#fs.forget(nodeid, request.u64(one + wire.FORGET_ONE.NLOOKUP));
    }
    return 0;
  }

  /** Writes the reply; returns its length. Where not even a header fits, nothing is written. */
  #finish(result: Status): number {
    const request = this.#request;
    const reply = this.#reply;
    const { buffers } = reply;
    if (buffers.writableSize < OUT_HEADER.SIZE) return 0;
    const body = result < 0 ? 0 : reply.size;
    const size = OUT_HEADER.SIZE + body + (result < 0 ? 0 : reply.directSize);
    assert(size <= buffers.writableSize, "a reply fits its buffers");
    const { view } = reply.bytes;
    view.setUint32(OUT_HEADER.LEN, size, true);
    view.setInt32(OUT_HEADER.ERROR, result < 0 ? result : 0, true);
    view.setUint32(OUT_HEADER.UNIQUE, request.uniqueLo, true);
    view.setUint32(OUT_HEADER.UNIQUE + 4, request.uniqueHi, true);
    buffers.copyOut(0, reply.bytes, 0, OUT_HEADER.SIZE + body);
    return size;
  }

  #requestLine(): string {
    const { opcode, nodeid, uid, gid, size, bytes, uniqueLo } = this.#request;
    const body = bytes.u8.slice(IN_HEADER.SIZE, Math.min(size, IN_HEADER.SIZE + 64));
    const hex = Array.from(body, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `rx ${
      opcodeName(opcode)
    } #${uniqueLo}: nodeid ${nodeid}, uid ${uid}, gid ${gid}, body ${hex}`;
  }
}
