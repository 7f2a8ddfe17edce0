/**
 * Requests of every opcode: a struct that makes sense most of the time, names, values, data.
 *
 * @module
 */

import type { Builder } from "./builder.ts";
import type { Model, OpenFile } from "./model.ts";
import { someName, someTarget, someXattr } from "./names.ts";
import type { Random } from "./random.ts";

/** What a request is made from, and what is to be known about it when the reply is there. */
export interface Draft {
  readonly random: Random;
  readonly model: Model;
  readonly builder: Builder;
  readonly unique: number;
  /** Opcodes that are asked for more often; see `modes.ts`. */
  readonly favoured: readonly number[];
  /** Bytes that the reply has room for, header included. */
  room: number;
  /** The file that it is about. */
  file: OpenFile | null;
  /** It makes known an inode, or opens a file: how its reply is to be read. */
  reply: "entry" | "entries" | "open" | "create" | "none";
}

type Maker = (draft: Draft) => void;
type Halves = readonly [number, number];

const MODES = [0o100644, 0o100755, 0o104755, 0o102777, 0o10644, 0o20666, 0o60660, 0o140777, 0o40755]
  .concat([0, 0o120777, 0o644, 0o177777, 0xffffffff]);
/** O_RDONLY, O_RDWR, O_TRUNC, O_APPEND, O_EXCL, O_DIRECT, O_NOFOLLOW, O_DIRECTORY, O_PATH, O_TMPFILE, O_ASYNC, … */
const OPEN_FLAGS = [0, 1, 2, 2, 3, 0o1002, 0o2002, 0o302, 0o40002, 0o200000, 0o400002, 0o1000000]
  .concat([0o10000000, 0o20200002, 0o10000, 0o20000, 0o4010002, 0xffffffff]);
const IDS = [0, 0, 0, 0, 1000, 65534, 0x7fffffff, 0xffffffff];

function flags({ random }: Draft): number {
  return random.oneIn(3) ? random.pick(OPEN_FLAGS) : random.pick([0, 1, 2]);
}

/** Small enough for what a test machine has, mostly. */
function offset({ random }: Draft): Halves {
  return random.oneIn(16) ? random.edge() : [random.below(1 << 20), 0];
}

function size({ random }: Draft): number {
  if (random.oneIn(30)) return random.edge()[0];
  return random.oneIn(10) ? random.below(1 << 17) : random.below(5000);
}

function begin(draft: Draft, opcode: number, nodeid: Halves): Builder {
  const { builder, random } = draft;
  builder.start(opcode, draft.unique, nodeid);
  if (random.oneIn(5)) builder.caller(random.pick(IDS), random.pick(IDS));
  return builder;
}

/** With an open file, which is noted. */
function onFile(draft: Draft, opcode: number, isDirectory = false): Builder {
  const file = draft.model.file(draft.random, isDirectory);
  draft.file = file;
  return begin(draft, opcode, [file.nodeid, 0]).u32(file.lo, file.hi);
}

function makesEntry(draft: Draft, opcode: number, parent = draft.model.directory(draft.random)) {
  draft.reply = "entry";
  return begin(draft, opcode, parent);
}

function isLinuxLike(draft: Draft, small: number, large: number): void {
  draft.room = draft.random.oneIn(8) ? large : small;
}

/** Extension blocks as they come with requests that make inodes; broken now and then. */
function extensions({ random, builder }: Draft): void {
  if (!random.oneIn(8)) return;
  const view = new DataView(new ArrayBuffer(64));
  const wrong = random.oneIn(3) ? random.u32() : 0;
  if (random.oneIn(2)) {
    // struct fuse_ext_header, fuse_supp_groups
    view.setUint32(0, 16 ^ (wrong & 0xff), true);
    view.setUint32(4, 32, true);
    view.setUint32(8, random.oneIn(4) ? random.below(70000) : 1, true);
    view.setUint32(12, random.pick(IDS), true);
    builder.extensions(new Uint8Array(view.buffer, 0, 16));
    return;
  }
  // struct fuse_secctx_header, fuse_secctx, its name, a label
  view.setUint32(0, 32 ^ (wrong & 0xff), true);
  view.setUint32(4, random.oneIn(5) ? random.below(40) : 1, true);
  view.setUint32(8, random.oneIn(5) ? random.u32() : 4, true);
  new Uint8Array(view.buffer).set(new TextEncoder().encode("user.label"), 16);
  builder.extensions(new Uint8Array(view.buffer, 0, 32));
}

function setattr(draft: Draft): void {
  const { random, model } = draft;
  const file = model.file(random);
  const valid = random.oneIn(10) ? random.u32() : 1 << random.below(12) | 1 << random.below(12);
  const builder = begin(draft, 4, random.oneIn(3) ? [file.nodeid, 0] : model.node(random));
  builder.u32(valid, 0, file.lo, file.hi).u64(offset(draft)).u64(random.edge());
  builder.u64(random.edge()).u64(random.edge()).u64(random.edge());
  builder.u32(random.below(1_100_000_000), random.u32(), random.below(1000));
  builder.u32(random.pick(MODES), 0, random.pick(IDS), random.pick(IDS), 0);
}

function lock(opcode: number): Maker {
  return (draft) => {
    const { random } = draft;
    const builder = onFile(draft, opcode).u32(random.below(6), 0);
    builder.u64(offset(draft)).u64(random.oneIn(3) ? [0xffffffff, 0x7fffffff] : offset(draft));
    builder.u32(random.oneIn(12) ? random.u32() : random.below(3), 7);
    builder.u32(random.oneIn(4) ? 1 : 0, 0);
  };
}

function read(opcode: number, isDirectory: boolean): Maker {
  return (draft) => {
    const { random } = draft;
    const bytes = size(draft);
    // Directories go on where they were left off, or anywhere.
    const at: Halves = isDirectory && random.oneIn(2) ? [0, 0] : offset(draft);
    onFile(draft, opcode, isDirectory).u64(at).u32(bytes, random.below(4), 5, 0, 0, 0);
    draft.room = 16 + (random.oneIn(12) ? random.below(70000) : Math.min(bytes, 1 << 17));
    if (opcode === 44) draft.reply = "entries";
  };
}

function copyRange(opcode: number): Maker {
  return (draft) => {
    const { random, model } = draft;
    const to = model.file(random);
    const builder = onFile(draft, opcode).u64(offset(draft)).u32(to.nodeid, 0, to.lo, to.hi);
    const bytes: Halves = random.oneIn(200) ? random.edge() : [random.below(1 << 18), 0];
    builder.u64(offset(draft)).u64(bytes).u32(random.oneIn(20) ? 1 : 0, 0);
  };
}

function release(opcode: number, isDirectory: boolean): Maker {
  return (draft) => {
    const { random, model } = draft;
    onFile(draft, opcode, isDirectory).u32(0, random.below(4), random.below(6), 0);
    model.released(draft.file!, random);
  };
}

function forgetCount(random: Random): Halves {
  return random.oneIn(4) ? random.edge() : [1 + random.below(3), 0];
}

function windowRange({ random }: Draft): readonly [at: Halves, length: Halves] {
  if (random.oneIn(8)) return [random.edge(), random.edge()];
  return [[random.below(16) * 0x200000, 0], [(1 + random.below(4)) * 0x80000, 0]];
}

/** By opcode, with how often it is asked for. */
const MAKERS: readonly (readonly [weight: number, opcode: number, make: Maker])[] = [
  [14, 1, (d) => void makesEntry(d, 1).name(someName(d.random))],
  [3, 2, (d) => {
    const node = d.model.node(d.random);
    begin(d, 2, node).u64(forgetCount(d.random));
    d.model.forgotten(node[0], d.random);
    d.room = d.random.oneIn(4) ? 64 : 0;
  }],
  [6, 3, (d) => {
    const file = d.model.file(d.random);
    const node: Halves = d.random.oneIn(4) ? [file.nodeid, 0] : d.model.node(d.random);
    begin(d, 3, node).u32(d.random.oneIn(3) ? 1 : 0, 0, file.lo, file.hi);
  }],
  [8, 4, setattr],
  [2, 5, (d) => {
    begin(d, 5, d.model.node(d.random));
    isLinuxLike(d, 4112, 20);
  }],
  [3, 6, (d) => {
    makesEntry(d, 6).name(someName(d.random)).name(someTarget(d.random));
    extensions(d);
  }],
  [4, 8, (d) => {
    const mode = d.random.pick(MODES);
    makesEntry(d, 8).u32(mode, d.random.below(0x200), d.random.pick([0, 0o22, 0o777]), 0)
      .name(someName(d.random));
    extensions(d);
  }],
  [4, 9, (d) => {
    makesEntry(d, 9).u32(d.random.pick(MODES), 0o22).name(someName(d.random));
    extensions(d);
  }],
  [4, 10, (d) => void begin(d, 10, d.model.directory(d.random)).name(someName(d.random))],
  [2, 11, (d) => void begin(d, 11, d.model.directory(d.random)).name(someName(d.random))],
  [2, 12, (d) => {
    const to = d.model.directory(d.random);
    begin(d, 12, d.model.directory(d.random)).u64(to).name(someName(d.random))
      .name(someName(d.random));
  }],
  [3, 13, (d) => {
    const node = d.model.node(d.random);
    makesEntry(d, 13).u64(node).name(someName(d.random));
  }],
  [9, 14, (d) => {
    begin(d, 14, d.model.node(d.random)).u32(flags(d), d.random.below(2));
    d.reply = "open";
  }],
  [8, 15, read(15, false)],
  [9, 16, (d) => {
    const bytes = size(d) & 0x1ffff;
    const claimed = d.random.oneIn(20) ? size(d) : bytes;
    onFile(d, 16).u64(offset(d)).u32(claimed, d.random.below(8), 5, 0, 0, 0).pad(bytes);
  }],
  [1, 17, (d) => void begin(d, 17, d.model.node(d.random))],
  [4, 18, release(18, false)],
  [1, 20, (d) => void onFile(d, 20).u32(d.random.below(2), 0)],
  [4, 21, (d) => {
    const bytes = d.random.oneIn(12) ? d.random.below(70000) : d.random.below(64);
    const claimed = d.random.oneIn(12) ? d.random.edge()[0] : bytes;
    const builder = begin(d, 21, d.model.node(d.random)).u32(claimed, d.random.below(4));
    if (!d.random.oneIn(4)) builder.u32(d.random.below(2), 0);
    builder.name(someXattr(d.random)).pad(bytes);
  }],
  [3, 22, (d) => {
    const bytes = d.random.oneIn(3) ? 0 : size(d) & 0x1ffff;
    begin(d, 22, d.model.node(d.random)).u32(bytes, 0).name(someXattr(d.random));
    d.room = 16 + (d.random.oneIn(4) ? 8 : Math.max(8, bytes));
  }],
  [2, 23, (d) => {
    const bytes = d.random.oneIn(3) ? 0 : size(d) & 0x1ffff;
    begin(d, 23, d.model.node(d.random)).u32(bytes, 0);
    d.room = 16 + Math.max(8, bytes);
  }],
  [2, 24, (d) => void begin(d, 24, d.model.node(d.random)).name(someXattr(d.random))],
  [2, 25, (d) => void onFile(d, 25).u32(0, 0, d.random.below(6), 0)],
  [5, 27, (d) => {
    begin(d, 27, d.model.directory(d.random)).u32(flags(d), 0);
    d.reply = "open";
  }],
  [5, 28, read(28, true)],
  [2, 29, release(29, true)],
  [1, 30, (d) => void onFile(d, 30, true).u32(d.random.below(2), 0)],
  [2, 31, lock(31)],
  [4, 32, lock(32)],
  [2, 33, lock(33)],
  [2, 34, (d) => void begin(d, 34, d.model.node(d.random)).u32(d.random.below(9), 0)],
  [8, 35, (d) => {
    const mode = d.random.pick(MODES);
    makesEntry(d, 35).u32(flags(d) | 0o100, mode, 0o22, d.random.below(2)).name(someName(d.random));
    d.reply = "create";
    extensions(d);
  }],
  [1, 36, (d) => {
    begin(d, 36, [0, 0]).u32(Math.max(0, d.unique - 2), 0);
    d.room = d.random.oneIn(2) ? 0 : 16;
  }],
  [1, 37, (d) => void begin(d, 37, d.model.node(d.random)).u32(1, 0, 4096, 0)],
  [1, 39, (d) => void onFile(d, 39).u32(d.random.u32(), d.random.u32(), 0, 0, 64, 64)],
  [1, 40, (d) => void onFile(d, 40).u32(1, 0, 0, 1)],
  [1, 41, (d) => void begin(d, 41, d.model.node(d.random)).pad(40)],
  [2, 42, (d) => {
    const count = d.random.oneIn(5) ? d.random.edge()[0] : d.random.below(6);
    const builder = begin(d, 42, [0, 0]).u32(count, 0);
    for (let i = 0; i < Math.min(count, 6); i++) {
      const node = d.model.node(d.random);
      builder.u64(node).u64(forgetCount(d.random));
      d.model.forgotten(node[0], d.random);
    }
    d.room = 0;
  }],
  [3, 43, (d) => {
    const length: Halves = d.random.oneIn(20) ? [0, 0x80000000] : [d.random.below(1 << 20), 0];
    onFile(d, 43).u64([d.random.below(1 << 20), 0]).u64(length)
      .u32(d.random.pick([0, 1, 3, 8, 16, 32, 64, 0xff]), 0);
  }],
  [5, 44, read(44, true)],
  [4, 45, (d) => {
    const to = d.model.directory(d.random);
    const how = d.random.oneIn(10) ? d.random.u32() : d.random.below(5);
    begin(d, 45, d.model.directory(d.random)).u64(to).u32(how, 0).name(someName(d.random))
      .name(someName(d.random));
  }],
  [2, 46, (d) => void onFile(d, 46).u64(offset(d)).u32(d.random.below(7), 0)],
  [2, 47, copyRange(47)],
  [4, 48, (d) => {
    const [at, length] = windowRange(d);
    const fh: Halves = d.random.oneIn(4) ? d.random.edge() : [0xffffffff, 0xffffffff];
    begin(d, 48, d.model.node(d.random)).u64(fh).u64([d.random.below(4) * 0x200000, 0])
      .u64(length).u32(1 + d.random.below(4), 0).u64(at);
  }],
  [2, 49, (d) => {
    const count = d.random.oneIn(6) ? d.random.edge()[0] : 1 + d.random.below(3);
    const builder = begin(d, 49, [0, 0]).u32(count);
    for (let i = 0; i < Math.min(count, 3); i++) {
      const [at, length] = windowRange(d);
      builder.u64(at).u64(length);
    }
  }],
  [1, 50, (d) => void begin(d, 50, [1, 0]).u32(0, 0)],
  [2, 51, (d) => {
    makesEntry(d, 51).u32(flags(d) | 2, 0o100600, 0o22, 0).name(someName(d.random));
    d.reply = "create";
  }],
  [3, 52, (d) => {
    const file = d.model.file(d.random);
    begin(d, 52, d.random.oneIn(3) ? [file.nodeid, 0] : d.model.node(d.random))
      .u32(d.random.oneIn(3) ? 1 : 0, 0, file.lo, file.hi, d.random.u32(), d.random.u32());
  }],
  [2, 53, copyRange(53)],
  [1, 54, (d) => void begin(d, d.random.u32(), d.model.node(d.random)).pad(d.random.below(100))],
];

const TOTAL = MAKERS.reduce((sum, [weight]) => sum + weight, 0);

/** Writes some request. */
export function makeRequest(draft: Draft): void {
  const { random, favoured, builder } = draft;
  if (favoured.length > 0 && random.oneIn(3)) {
    const wanted = random.pick(favoured);
    MAKERS.find(([, opcode]) => opcode === wanted)![2](draft);
    builder.finish();
    return;
  }
  let at = random.below(TOTAL);
  for (const [weight, , make] of MAKERS) {
    at -= weight;
    if (at >= 0) continue;
    make(draft);
    builder.finish();
    return;
  }
}

/** INIT, as Linux sends it or nearly so. */
export function makeInit(draft: Draft, isOrdinary: boolean): void {
  const { random, builder } = draft;
  const strange = !isOrdinary && random.oneIn(2);
  const minor = strange ? random.pick([0, 8, 26, 27, 31, 36, 37, 38, 46, 0xffffffff]) : 45;
  builder.start(26, draft.unique, [0, 0]);
  builder.u32(strange && random.oneIn(4) ? random.below(9) : 7, minor, 1 << 20);
  builder.u32(strange ? random.u32() : 0xffffffff, strange ? random.u32() : 0xffffffff).pad(44);
  if (strange && random.oneIn(3)) builder.size = 40 + random.below(64);
  builder.finish();
}

/** Spoils what has been made. */
export function mutate({ random, builder, file }: Draft): void {
  const { bytes, view, bodyOffset } = builder;
  switch (random.below(7)) {
    case 0:
      view.setUint32(0, random.oneIn(2) ? random.edge()[0] : random.below(builder.size + 16), true);
      return;
    case 1:
      builder.size = random.below(builder.size + 1);
      return;
    case 2:
      view.setUint16(36, random.oneIn(2) ? random.below(16) : random.u32() & 0xffff, true);
      return;
    case 3:
      view.setUint32(4, random.below(60), true);
      return;
    case 4:
      // A field of the struct becomes an edge.
      if (builder.size >= bodyOffset + 8) {
        const fields = (Math.min(builder.size - bodyOffset, 88)) >>> 3;
        const at = bodyOffset + random.below(fields) * 8;
        const [lo, hi] = random.edge();
        view.setUint32(at, lo, true);
        view.setUint32(at + 4, hi, true);
      }
      return;
    case 5:
      for (let i = 0; i <= random.below(4); i++) bytes[random.below(builder.size)] = random.u32();
      // Its uid and the nodeid stay plausible otherwise.
      if (file !== null && random.oneIn(2)) view.setUint32(16, file.nodeid, true);
      return;
    default:
      builder.size = Math.min(builder.size + random.below(64), bytes.length);
  }
}
