/**
 * What the guest of the fuzzer knows to be live: learned from replies, so that most requests mean something.
 *
 * @module
 */

import type { Random } from "./random.ts";

/** An open file or directory. */
export interface OpenFile {
  readonly lo: number;
  readonly hi: number;
  readonly nodeid: number;
}

const S_IFDIR = 0o40000;
const S_IFMT = 0o170000;
/** More are not remembered, only forgotten at the end of the session. */
const REMEMBERED_MAX = 96;

/** One session. */
export class Model {
  readonly #nodes: number[] = [];
  readonly #directories: number[] = [];
  readonly #files: OpenFile[] = [];
  readonly #openDirectories: OpenFile[] = [];

  clear(): void {
    for (const list of [this.#nodes, this.#directories, this.#files, this.#openDirectories]) {
      list.length = 0;
    }
  }

  learnNode(nodeid: number, mode: number, random: Random): void {
    const list = (mode & S_IFMT) === S_IFDIR ? this.#directories : this.#nodes;
    if (list.length < REMEMBERED_MAX) list.push(nodeid);
    else list[random.below(list.length)] = nodeid;
  }

  learnOpen(file: OpenFile, isDirectory: boolean, random: Random): void {
    const list = isDirectory ? this.#openDirectories : this.#files;
    if (list.length < REMEMBERED_MAX) list.push(file);
    else list[random.below(list.length)] = file;
  }

  /** A nodeid, mostly a live one; its halves. */
  node(random: Random): readonly [lo: number, hi: number] {
    if (random.oneIn(12)) return forged(random, this.#nodes[0] ?? 1);
    const list = random.oneIn(4) ? this.#directories : this.#nodes;
    return [list.length === 0 ? 1 : random.pick(list), 0];
  }

  directory(random: Random): readonly [lo: number, hi: number] {
    if (random.oneIn(20)) return this.node(random);
    const list = this.#directories;
    return [list.length === 0 || random.oneIn(2) ? 1 : random.pick(list), 0];
  }

  /** An open file; often closed already, sometimes of another inode, sometimes made up. */
  file(random: Random, isDirectory = false): OpenFile {
    const swapped = random.oneIn(20) ? !isDirectory : isDirectory;
    const list = swapped ? this.#openDirectories : this.#files;
    if (list.length === 0 || random.oneIn(15)) {
      const [lo, hi] = forged(random, list[0]?.lo ?? 1);
      return { lo, hi, nodeid: this.node(random)[0] };
    }
    const file = random.pick(list);
    if (random.oneIn(25)) return { ...file, nodeid: this.node(random)[0] };
    if (random.oneIn(40)) return { ...file, hi: (file.hi + 1) >>> 0 };
    return file;
  }

  /** The guest has sent RELEASE. It is kept now and then, to be used after that. */
  released(file: OpenFile, random: Random): void {
    if (random.oneIn(4)) return;
    for (const list of [this.#files, this.#openDirectories]) {
      const at = list.findIndex(({ lo, hi }) => lo === file.lo && hi === file.hi);
      if (at >= 0) list.splice(at, 1);
    }
  }

  /** The guest has sent FORGET. */
  forgotten(nodeid: number, random: Random): void {
    if (random.oneIn(4)) return;
    for (const list of [this.#nodes, this.#directories]) {
      const at = list.indexOf(nodeid);
      if (at >= 0) list.splice(at, 1);
    }
  }
}

function forged(random: Random, live: number): readonly [lo: number, hi: number] {
  switch (random.below(5)) {
    case 0:
      return random.edge();
    case 1:
      return [live, 1];
    case 2:
      return [random.below(256), 0];
    case 3:
      return [(live + random.below(5) - 2) >>> 0, 0];
    default:
      return [random.u32(), random.u32()];
  }
}
