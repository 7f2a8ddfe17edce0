import { deepEqual, equal, match } from "node:assert/strict";
import { FileSystem, type Negotiation, PENDING } from "../../src/fuse/file_system.ts";
import { OPERATIONS } from "../../src/fuse/operations.ts";
import type { Reply } from "../../src/fuse/reply.ts";
import type { Request } from "../../src/fuse/request.ts";
import { FuseServer, NOT_YET } from "../../src/fuse/server.ts";
import { Session, SESSION_WORDS } from "../../src/fuse/session.ts";
import { initBody, LINUX_INIT_FLAGS, OP, readInit } from "../support/fuse_wire.ts";
import { concat, name, viewOf, words } from "../support/little_endian.ts";
import { FakeBuffers } from "./fake_buffers.ts";

const EIO = 5;
const EINVAL = 22;
const ENAMETOOLONG = 36;
const ENOSYS = 38;
const EPROTO = 71;
const UNIQUE = 0x1_0000_0002n;

/** A file system that notes what it is asked. */
class FakeFs extends FileSystem {
  readonly calls: string[] = [];
  answer: (request: Request, reply: Reply) => number = () => 0;
  negotiation: Negotiation | null = null;
  wanted = 0;
  wanted2 = 0;

  override init(negotiation: Negotiation): number {
    this.calls.push("init");
    this.negotiation = { ...negotiation };
    negotiation.wanted |= this.wanted;
    negotiation.wanted2 |= this.wanted2;
    return 0;
  }

  override destroy(): void {
    this.calls.push("destroy");
  }

  override lookup(request: Request, reply: Reply): number {
    this.calls.push(`lookup ${request.nodeid} ${request.nameText()}`);
    return this.answer(request, reply);
  }

  override symlink(request: Request): number {
    this.calls.push(`symlink ${request.nameText()} ${request.name2Text()}`);
    return 0;
  }

  override rename(request: Request): number {
    this.calls.push(`rename ${request.nameText()} ${request.name2Text()}`);
    return 0;
  }

  override readlink(request: Request, reply: Reply): number {
    return this.answer(request, reply);
  }

  override setlkw(request: Request, reply: Reply): number {
    return this.answer(request, reply);
  }

  override forget(nodeid: number, count: number): void {
    this.calls.push(`forget ${nodeid} ${count}`);
  }
}

class Bench {
  readonly fs = new FakeFs();
  readonly session = new Session(new Uint32Array(SESSION_WORDS));
  readonly warnings: string[] = [];
  readonly counted: string[] = [];
  readonly server = new FuseServer(this.fs, this.session, {
    warn: (message) => this.warnings.push(message),
    trace: null,
    begin() {},
    count: (opcode, status) => this.counted.push(`${opcode} ${status}`),
  });
  readonly #buffers = new FakeBuffers();

  /** The reply's bytes; null for NOT_YET. */
  raw(bytes: Uint8Array, room = 4096): Uint8Array | null {
    this.#buffers.load(bytes, room);
    const size = this.server.handle(this.#buffers);
    if (size === NOT_YET) return null;
    equal(size <= room, true);
    return this.#buffers.reply(size);
  }

  call(
    opcode: number,
    body: Uint8Array,
    room = 4096,
    nodeid = 1n,
  ): { error: number; body: Uint8Array } {
    const reply = this.raw(
      concat(words(40 + body.length, opcode, UNIQUE, nodeid, 0n, 0, 0), body),
      room,
    );
    if (reply === null) throw new Error("not answered");
    const view = viewOf(reply);
    equal(view.getUint32(0, true), reply.length);
    equal(view.getBigUint64(8, true), UNIQUE);
    return { error: -view.getInt32(4, true), body: reply.slice(16) };
  }

  begun(): this {
    equal(this.call(OP.INIT, initBody(7, 45, LINUX_INIT_FLAGS)).error, 0);
    this.fs.calls.length = 0;
    return this;
  }
}

Deno.test("before INIT, and after DESTROY, everything is EIO", () => {
  const bench = new Bench();
  equal(bench.call(OP.LOOKUP, name("x")).error, EIO);
  bench.begun();
  equal(bench.call(OP.LOOKUP, name("x")).error, 0);
  equal(bench.call(OP.DESTROY, new Uint8Array()).error, 0);
  equal(bench.call(OP.LOOKUP, name("x")).error, EIO);
  deepEqual(bench.fs.calls, ["lookup 1 x", "destroy"]);
});

Deno.test("INIT agrees on what both sides want", () => {
  const bench = new Bench();
  bench.fs.wanted = 2 ** 16 | 2 ** 20;
  bench.fs.wanted2 = 2 ** 2 | 2 ** 9;
  const offered = LINUX_INIT_FLAGS & ~(1n << 20n);
  const { error, body } = bench.call(OP.INIT, initBody(7, 45, offered));
  equal(error, 0);
  equal(body.length, 64);
  const reply = readInit(body);
  deepEqual([reply.major, reply.minor, reply.maxWrite, reply.maxPages, reply.timeGran], [
    7,
    45,
    2 ** 20,
    256,
    1,
  ]);
  const has = (bit: bigint): boolean => ((reply.flags >> bit) & 1n) === 1n;
  equal(has(16n), true);
  equal(has(20n), false, "not offered");
  equal(has(34n), true);
  equal(has(41n), false, "not offered");
  equal(has(22n) && has(5n) && has(30n), true, "MAX_PAGES, BIG_WRITES, INIT_EXT");
  equal(reply.flags & ~offered, 0n);
  deepEqual([bench.session.active, bench.session.minor, bench.session.has2(2 ** 2)], [
    true,
    45,
    true,
  ]);
});

Deno.test("INIT of an older minor has no second flag word, whatever lies behind", () => {
  const bench = new Bench();
  bench.fs.wanted2 = 0xffffffff;
  const { error, body } = bench.call(OP.INIT, initBody(7, 31, LINUX_INIT_FLAGS & 0xffffffffn));
  equal(error, 0);
  equal(bench.session.minor, 31);
  equal(readInit(body).flags >> 32n, 0n);
  equal(bench.fs.negotiation!.offered2, 0);
});

Deno.test("INIT of a newer minor is answered with ours", () => {
  const bench = new Bench();
  equal(readInit(bench.call(OP.INIT, initBody(7, 99, LINUX_INIT_FLAGS)).body).minor, 45);
  equal(bench.session.minor, 45);
});

Deno.test("INIT of major 8 is told 7, and begins nothing: the guest asks again", () => {
  const bench = new Bench();
  const { error, body } = bench.call(OP.INIT, initBody(8, 1, LINUX_INIT_FLAGS));
  equal(error, 0);
  equal(readInit(body).major, 7);
  equal(bench.session.active, false);
  deepEqual(bench.fs.calls, []);
  bench.begun();
});

Deno.test("INIT that is too old is refused, with a warning", () => {
  const bench = new Bench();
  equal(bench.call(OP.INIT, initBody(7, 26, 0n)).error, EPROTO);
  equal(bench.call(OP.INIT, initBody(6, 45, 0n)).error, EPROTO);
  match(bench.warnings[0]!, /7\.26/);
  equal(bench.session.active, false);
});

Deno.test("INIT that is short, or has no room for its answer, is EINVAL", () => {
  const bench = new Bench();
  equal(bench.call(OP.INIT, words(7, 45)).error, EINVAL);
  equal(bench.call(OP.INIT, initBody(7, 45, 0n), 16 + 63).error, EINVAL);
  equal(bench.session.active, false);
});

Deno.test("a new INIT drops the old session first", () => {
  const bench = new Bench().begun();
  equal(bench.call(OP.INIT, initBody(7, 45, LINUX_INIT_FLAGS)).error, 0);
  deepEqual(bench.fs.calls, ["destroy", "init"]);
});

Deno.test("opcodes that nobody has are ENOSYS, and so is what a file system does not override", () => {
  const bench = new Bench().begun();
  for (const opcode of [0, 7, 19, 54, 4096, 0xffffffff]) {
    equal(bench.call(opcode, new Uint8Array()).error, ENOSYS, `opcode ${opcode}`);
  }
  equal(bench.call(OP.STATFS, new Uint8Array()).error, ENOSYS);
  equal(bench.call(OP.BMAP, new Uint8Array(16)).error, ENOSYS);
  equal(bench.call(OP.POLL, new Uint8Array(24)).error, ENOSYS);
});

Deno.test("every operation refuses a body one byte too short, and a reply buffer one byte too small", () => {
  const bench = new Bench().begun();
  for (const [opcode, operation] of OPERATIONS.entries()) {
    if (operation === undefined) continue;
    const { inSize, nameCount, outSize } = operation;
    if (inSize > 0 && opcode !== OP.SETXATTR) {
      equal(bench.call(opcode, new Uint8Array(inSize - 1)).error, EINVAL, operation.name);
    }
    if (outSize > 0) {
      const names = Array.from({ length: nameCount }, () => name("n"));
      const body = concat(new Uint8Array(inSize), ...names);
      equal(
        bench.call(opcode, body, 16 + outSize - 1).error,
        EINVAL,
        `${operation.name}: small reply`,
      );
    }
  }
  deepEqual(bench.fs.calls, []);
});

Deno.test("names are checked before the file system sees them", () => {
  const bench = new Bench().begun();
  equal(bench.call(OP.LOOKUP, name("a/b")).error, EINVAL);
  equal(bench.call(OP.LOOKUP, name("")).error, EINVAL);
  equal(bench.call(OP.LOOKUP, name("x".repeat(256))).error, ENAMETOOLONG);
  for (const opcode of [OP.UNLINK, OP.RMDIR]) {
    for (const bad of [".", "..", "a/b"]) equal(bench.call(opcode, name(bad)).error, EINVAL);
  }
  equal(bench.call(OP.RENAME, concat(words(1n), name("a"), name("../b"))).error, EINVAL);
  equal(bench.call(OP.SYMLINK, concat(name("a"), name(""))).error, EINVAL);
  equal(bench.call(OP.SYMLINK, concat(name("a"), name("x".repeat(4096)))).error, ENAMETOOLONG);
  deepEqual(bench.fs.calls, []);
  // What is allowed: dots in LOOKUP, anything as a symlink's target.
  bench.call(OP.LOOKUP, name(".."));
  bench.call(OP.SYMLINK, concat(name("a"), name("../../b/c")));
  bench.call(OP.RENAME, concat(words(1n), name("a"), name("b")));
  deepEqual(bench.fs.calls, ["lookup 1 ..", "symlink a ../../b/c", "rename a b"]);
});

Deno.test("a failing request has an errno and no body", () => {
  const bench = new Bench().begun();
  bench.fs.answer = (_, reply) => {
    reply.size = 100;
    reply.directSize = 100;
    return -2;
  };
  const { error, body } = bench.call(OP.LOOKUP, name("x"));
  deepEqual([error, body.length], [2, 0]);
  equal(bench.counted.at(-1), `${OP.LOOKUP} -2`);
});

Deno.test("a reply's body is as long as the file system said", () => {
  const bench = new Bench().begun();
  bench.fs.answer = (_, reply) => {
    reply.append(new TextEncoder().encode("target"));
    return 0;
  };
  equal(new TextDecoder().decode(bench.call(OP.READLINK, new Uint8Array()).body), "target");
});

Deno.test("FORGET and BATCH_FORGET have no reply", () => {
  const bench = new Bench().begun();
  const header = (opcode: number, size: number, nodeid: bigint): Uint8Array =>
    words(40 + size, opcode, UNIQUE, nodeid, 0n, 0, 0);
  equal(bench.raw(concat(header(OP.FORGET, 8, 5n), words(3n)))!.length, 0);
  const batch = concat(header(OP.BATCH_FORGET, 8 + 32, 0n), words(2, 0, 7n, 1n, 8n, 2n));
  equal(bench.raw(batch)!.length, 0);
  deepEqual(bench.fs.calls, ["forget 5 3", "forget 7 1", "forget 8 2"]);
  // A count that is not there: nothing is forgotten, nothing is answered.
  const lying = concat(header(OP.BATCH_FORGET, 8 + 32, 0n), words(0xffffffff, 0, 7n, 1n, 8n, 2n));
  equal(bench.raw(lying)!.length, 0);
  equal(bench.raw(header(OP.FORGET, 0, 5n))!.length, 0);
  equal(bench.fs.calls.length, 3);
  // Also without any room for one, as hiprio requests have it.
  equal(bench.raw(concat(header(OP.FORGET, 8, 6n), words(1n)), 0)!.length, 0);
  equal(bench.fs.calls.at(-1), "forget 6 1");
});

Deno.test("FORGET outside a session is dropped", () => {
  const bench = new Bench();
  equal(bench.raw(concat(words(48, OP.FORGET, UNIQUE, 5n, 0n, 0, 0), words(3n)))!.length, 0);
  deepEqual(bench.fs.calls, []);
});

Deno.test("a request that cannot be answered yet leaves its buffers untouched", () => {
  const bench = new Bench().begun();
  bench.fs.answer = () => PENDING;
  const counted = bench.counted.length;
  const request = concat(words(40 + 48, OP.SETLKW, UNIQUE, 1n, 0n, 0, 0), new Uint8Array(48));
  equal(bench.raw(request), null);
  equal(bench.counted.length, counted);
  bench.fs.answer = () => 0;
  equal(bench.raw(request)!.length, 16);
});

Deno.test("requests that are no requests get EINVAL if there is room to say so", () => {
  const bench = new Bench().begun();
  const reply = bench.raw(words(12, OP.LOOKUP, UNIQUE).slice(0, 16))!;
  equal(viewOf(reply).getInt32(4, true), -EINVAL);
  equal(bench.raw(new Uint8Array(3), 15)!.length, 0);
  equal(bench.raw(new Uint8Array(0), 0)!.length, 0);
});

Deno.test("a file system that throws costs the guest an EIO, and nobody more", () => {
  const bench = new Bench().begun();
  const boom = (): never => {
    throw new Error("boom");
  };
  bench.fs.answer = boom;
  equal(bench.call(OP.LOOKUP, name("x")).error, EIO);
  match(bench.warnings.at(-1)!, /boom/);
  bench.fs.forget = boom;
  equal(bench.raw(concat(words(48, OP.FORGET, UNIQUE, 5n, 0n, 0, 0), words(3n)))!.length, 0);
  bench.fs.destroy = boom;
  equal(bench.call(OP.DESTROY, new Uint8Array()).error, 0);
  bench.fs.init = boom;
  equal(bench.call(OP.INIT, initBody(7, 45, LINUX_INIT_FLAGS)).error, EIO);
  equal(bench.session.active, false);
  // LOOKUP, FORGET, DESTROY, and at INIT both: it drops what a request in flight at DESTROY may have left.
  equal(bench.warnings.length, 5);
});

Deno.test("a reply that says more than there is room for is EIO, not a dead queue", () => {
  const bench = new Bench().begun();
  bench.fs.answer = (_, reply) => {
    reply.size = 100;
    return 0;
  };
  equal(bench.call(OP.READLINK, new Uint8Array(), 16 + 99).error, EIO);
  equal(bench.call(OP.READLINK, new Uint8Array(), 16 + 100).error, 0);
});

Deno.test("interrupt() answers without asking the file system", () => {
  const bench = new Bench().begun();
  const buffers = new FakeBuffers();
  buffers.load(concat(words(48, OP.LOOKUP, UNIQUE, 1n, 0n, 0, 0), name("x")), 100);
  equal(bench.server.interrupt(buffers), 16);
  equal(viewOf(buffers.reply(16)).getInt32(4, true), -4);
  deepEqual(bench.fs.calls, []);
});
