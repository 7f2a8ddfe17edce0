import { deepEqual, equal } from "node:assert/strict";
import { Asked } from "../../src/mount/asked.ts";
import { KernelCaches } from "../../src/mount/kernel_caches.ts";
import type { NoticeSink } from "../../src/mount/notices.ts";
import type { VersionSource } from "../../src/mount/version_numbers.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { Opcode } from "../../src/wire/fuse.ts";

const REQUEST = 0;
const REPLY = 8192;
const DAY = 86400;
const CHANGE = 0x1000;
const SLOTS = 64;

/** A kernel and a daemon reduced to what passes by; the daemon's inode n has slot n + 10. */
class Bench implements VersionSource, NoticeSink {
  readonly slots = new Map<number, number>();
  readonly notices: string[] = [];
  readonly warnings: string[] = [];
  readonly memory = NativeMemory.allocate(16384);
  readonly caches: KernelCaches;
  /** The clock, in milliseconds. */
  time = 1000;

  constructor(withTable = true) {
    this.caches = new KernelCaches(
      withTable ? this : null,
      this,
      (message) => this.warnings.push(message),
      () => this.time,
    );
    this.#entry(1, 11, 0);
    this.caches.learnRoot(this.memory, REPLY, 16 + 144);
  }

  isInRange(index: number): boolean {
    return index >= 8 && index < SLOTS;
  }

  version(index: number): number {
    return this.slots.get(index) ?? 0;
  }

  inode(nodeid: number): void {
    this.notices.push(`inode ${nodeid}`);
  }

  attributes(nodeid: number): void {
    this.notices.push(`attributes ${nodeid}`);
  }

  entry(parent: number, name: string): void {
    this.notices.push(`entry ${parent} ${name}`);
  }

  flush(): boolean {
    return false;
  }

  /** Somebody changes an inode. */
  change(nodeid: number, by = CHANGE): void {
    this.slots.set(nodeid + 10, this.version(nodeid + 10) + by);
  }

  send(opcode: number, nodeid: number, args: readonly (string | number)[] = []): Asked {
    const { memory } = this;
    memory.u8.fill(0, REQUEST, REQUEST + 4096);
    memory.view.setUint32(REQUEST + 4, opcode, true);
    memory.setU64(REQUEST + 16, nodeid);
    let at = REQUEST + 40;
    for (const arg of args) {
      if (typeof arg === "string") {
        memory.setCString(at, arg);
        at += arg.length + 1;
      } else {
        memory.setU64(at, arg);
        at += 8;
      }
    }
    const asked = new Asked();
    this.caches.ask(asked, memory, REQUEST, at - REQUEST - 40);
    return asked;
  }

  /** A reply with an entry: the validities that the kernel gets, in seconds. */
  named(asked: Asked, nodeid: number, version = this.version(nodeid + 10)): [number, number] {
    const open = asked.opcode === Opcode.CREATE ? 16 : 0;
    this.#entry(nodeid, nodeid === 0 ? 0 : nodeid + 10, version, open);
    const size = this.caches.answer(asked, this.memory, REPLY, 16 + 144 + open);
    equal(size, 16 + 128 + open);
    equal(this.memory.view.getUint32(REPLY, true), size);
    const validities: [number, number] = [
      this.memory.u64(REPLY + 16 + 16),
      this.memory.u64(REPLY + 16 + 24),
    ];
    this.caches.told(asked, true);
    return validities;
  }

  /** A reply with attributes: their validity. */
  attributed(asked: Asked): number {
    this.#header(16 + 104);
    this.memory.setU64(REPLY + 16, DAY);
    equal(this.caches.answer(asked, this.memory, REPLY, 16 + 104), 16 + 104);
    const validity = this.memory.u64(REPLY + 16);
    this.caches.told(asked, true);
    return validity;
  }

  /** A reply of so many bytes, or an error. */
  done(asked: Asked, size = 0, error = 0): void {
    this.#header(16 + size, error);
    this.caches.answer(asked, this.memory, REPLY, 16 + size);
    this.caches.told(asked, error === 0);
  }

  lookup(parent: number, name: string, nodeid: number): [number, number] {
    return this.named(this.send(Opcode.LOOKUP, parent, [name]), nodeid);
  }

  /** The slots are looked at; what was sent since the last time. */
  look(): string[] {
    this.pass(15);
    return this.notices.splice(0);
  }

  /** So many milliseconds pass, or until there is a notice. */
  pass(milliseconds: number, untilNotice = false): void {
    for (let i = 0; i < milliseconds && !(untilNotice && this.notices.length > 0); i++) {
      this.time++;
      this.caches.work();
    }
  }

  #header(size: number, error = 0): void {
    this.memory.u8.fill(0, REPLY, REPLY + size);
    this.memory.view.setUint32(REPLY, size, true);
    this.memory.view.setInt32(REPLY + 4, error, true);
  }

  #entry(nodeid: number, index: number, version: number, open = 0): void {
    this.#header(16 + 144 + open);
    const body = REPLY + 16;
    this.memory.setU64(body, nodeid);
    this.memory.setU64(body + 16, DAY);
    this.memory.setU64(body + 24, DAY);
    this.memory.setU64(body + 128 + open, index);
    this.memory.setU64(body + 136 + open, version);
  }
}

Deno.test("what nobody changes stays; what somebody changes is taken back, once, with the names of a directory", () => {
  const bench = new Bench();
  deepEqual(bench.lookup(1, "a", 2), [DAY, DAY]);
  deepEqual(bench.lookup(1, "missing", 0), [DAY, DAY]);
  deepEqual(bench.look(), []);
  bench.change(2);
  deepEqual(bench.look(), ["inode 2"]);
  deepEqual(bench.look(), []);
  bench.change(1);
  deepEqual(bench.look(), ["entry 1 a", "entry 1 missing", "inode 1"]);
  bench.change(1);
  deepEqual(bench.look(), [], "the kernel has nothing more");
});

Deno.test("what is being changed, or was changed since it was asked for, is not kept", () => {
  const bench = new Bench();
  bench.change(2, 1);
  deepEqual(bench.lookup(1, "a", 2), [DAY, 0]);
  bench.change(2, CHANGE - 1);
  let asked = bench.send(Opcode.LOOKUP, 1, ["a"]);
  bench.change(1);
  deepEqual(bench.named(asked, 2), [0, DAY]);
  asked = bench.send(Opcode.GETATTR, 2, [0, 0]);
  bench.change(2);
  equal(bench.attributed(asked), 0);
  equal(bench.attributed(bench.send(Opcode.GETATTR, 2, [0, 0])), DAY);
});

Deno.test("data that was read while somebody changed it is taken back after the kernel has got it", () => {
  const bench = new Bench();
  bench.lookup(1, "a", 2);
  const asked = bench.send(Opcode.READ, 2, [0, 0, 4096, 0, 0]);
  bench.change(2);
  deepEqual(bench.look(), ["inode 2"]);
  bench.done(asked, 100);
  deepEqual(bench.notices.splice(0), ["inode 2"]);
});

Deno.test("own changes, one or several at once, take nothing back; but with one of somebody else among them they do", () => {
  const bench = new Bench();
  bench.lookup(1, "a", 2);
  for (const others of [0, 1]) {
    const writes = [0, 1, 2].map(() => bench.send(Opcode.WRITE, 2, [0, 0, 0, 0, 0]));
    for (const asked of writes) {
      bench.change(2);
      if (others > 0 && asked === writes[1]) bench.change(2);
      bench.done(asked, 8);
    }
    deepEqual(bench.look(), others > 0 ? ["inode 2"] : []);
  }
});

Deno.test("a change of somebody else during a long own one is not overlooked for long", () => {
  const bench = new Bench();
  bench.lookup(1, "a", 2);
  bench.send(Opcode.WRITE, 2, [0, 0, 0, 0, 0]);
  // It may be ours.
  bench.change(2);
  bench.pass(1000, true);
  deepEqual(bench.notices, ["inode 2"]);
});

Deno.test("own names: kept when created, moved when renamed, gone when removed", () => {
  const bench = new Bench();
  const create = bench.send(Opcode.CREATE, 1, [0, 0, "a"]);
  bench.change(1);
  deepEqual(bench.named(create, 2), [DAY, DAY]);
  const rename = bench.send(Opcode.RENAME, 1, [1, "a", "b"]);
  bench.change(1);
  bench.change(2);
  bench.done(rename);
  deepEqual(bench.look(), []);
  const names = () => [...bench.caches.nodes.get(1)!.names!.keys()];
  deepEqual(names(), ["b"]);
  const unlink = bench.send(Opcode.UNLINK, 1, ["b"]);
  bench.change(1);
  bench.change(2);
  bench.done(unlink);
  deepEqual(names(), []);
  deepEqual(bench.look(), []);
});

Deno.test("an own change of what a name leads to counts only if nobody has changed the directory", () => {
  const bench = new Bench();
  bench.lookup(1, "a", 2);
  const unlink = bench.send(Opcode.UNLINK, 1, ["a"]);
  // Somebody has put another file there, ours is changed by somebody else.
  bench.change(1);
  bench.change(1);
  bench.change(2);
  bench.done(unlink);
  deepEqual(bench.look().sort(), ["inode 1", "inode 2"]);
});

Deno.test("an own change that fails is believed to have changed something if the version says so", () => {
  const bench = new Bench();
  bench.lookup(1, "missing", 0);
  bench.done(bench.send(Opcode.MKDIR, 1, [0, "x"]), 0, -17);
  deepEqual(bench.look(), []);
  const mkdir = bench.send(Opcode.MKDIR, 1, [0, "x"]);
  bench.change(1);
  bench.done(mkdir, 0, -17);
  deepEqual(bench.look(), ["entry 1 missing", "inode 1"]);
});

Deno.test("forgotten inodes are watched no more, and neither are replies that come too late for them", () => {
  const bench = new Bench();
  bench.lookup(1, "a", 2);
  bench.lookup(1, "a", 2);
  const late = bench.send(Opcode.READ, 2, [0, 0, 4096, 0, 0]);
  const forget = (count: number) => {
    bench.memory.setU64(0, 2);
    bench.memory.setU64(8, count);
    bench.caches.forget(bench.memory, 0, 8);
  };
  forget(1);
  bench.change(2);
  deepEqual(bench.look(), ["inode 2"]);
  bench.lookup(1, "a", 2);
  equal(bench.caches.watcher.watchedCount, 2);
  forget(2);
  equal(bench.caches.watcher.watchedCount, 1);
  bench.done(late, 100);
  equal(bench.caches.watcher.watchedCount, 1);
  equal(bench.caches.nodes.size, 1);
  deepEqual([...bench.caches.nodes.get(1)!.names!.keys()], []);
});

Deno.test("what was told just before a notice is taken back once more: the kernel's process may have been slow", () => {
  const bench = new Bench();
  bench.lookup(1, "a", 2);
  bench.change(1);
  deepEqual(bench.look(), ["entry 1 a", "inode 1"]);
  bench.pass(2000, true);
  deepEqual(bench.notices, ["entry 1 a", "attributes 1"]);
});

Deno.test("without a table, and for slots that it does not have, nothing is kept, and that is said once", () => {
  const without = new Bench(false);
  deepEqual(without.lookup(1, "a", 2), [0, 0]);
  equal(without.attributed(without.send(Opcode.GETATTR, 2, [0, 0])), 0);
  equal(without.caches.work(), -1);
  const bench = new Bench();
  deepEqual(bench.lookup(1, "a", SLOTS), [DAY, 0]);
  deepEqual(bench.lookup(1, "b", SLOTS + 1), [DAY, 0]);
  equal(bench.warnings.length, 1);
});

Deno.test("with nothing cached there is nothing to look at, ever", () => {
  const bench = new Bench();
  equal(bench.caches.work(), -1);
});
