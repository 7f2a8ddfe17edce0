import { equal } from "node:assert/strict";
import { countMapping } from "../../src/dax/thrashing.ts";
import { DaxInodeTable } from "../../src/state/dax_inode_table.ts";
import { InodeKey, InodeTable } from "../../src/state/inode_table.ts";
import { randomNumbers, seedOf } from "../intervals/random.ts";
import { FreshState, NOTHING_ELSE } from "../state/fresh_state.ts";

const RANGE = 2 * 1024 * 1024;
const NOW = 1_700_000_000_000;
const BIRTH = 12345;

/** One file of so many ranges, and a clock. */
class Watched implements Disposable {
  readonly #state = new FreshState();
  readonly table: DaxInodeTable;
  readonly nodeid: number;
  readonly size: number;
  now = NOW;

  constructor(ranges: number) {
    const inodes = new InodeTable(this.#state.memory, NOTHING_ELSE);
    const key = new InodeKey();
    key.inoLo = 4711;
    key.mode = 0o100644;
    this.nodeid = inodes.insert(key, -1);
    this.table = new DaxInodeTable(this.#state.memory, inodes);
    this.size = ranges * RANGE;
  }

  /** Maps a range; true if the file is demoted by that. */
  map(range: number): boolean {
    const at = range * RANGE;
    return countMapping(this.table, this.nodeid, at, RANGE, this.size, BIRTH, this.now);
  }

  [Symbol.dispose](): void {
    this.#state[Symbol.dispose]();
  }
}

/** How many random mappings it takes to demote the file, `ms` apart; -1 = more than `most`. */
function mappingsUntilDemoted(watched: Watched, most: number, ms: number, seed: number): number {
  const random = randomNumbers(seed);
  const ranges = watched.size / RANGE;
  for (let i = 1; i <= most; i++) {
    watched.now += ms;
    if (watched.map(random(ranges))) return i;
  }
  return -1;
}

Deno.test("a file that is mapped in order is not demoted, however large", () => {
  using watched = new Watched(10_000);
  for (let pass = 0; pass < 20; pass++) {
    for (let range = 0; range < 10_000; range++) equal(watched.map(range), false);
  }
});

Deno.test("a file that is mapped once in any order is not demoted", () => {
  const ranges = 1000;
  using watched = new Watched(ranges);
  // 7 and 1000 have no common divisor: each range once.
  for (let i = 0; i < ranges; i++) equal(watched.map((i * 7) % ranges), false);
});

Deno.test("a file that is mapped at random again and again is demoted", () => {
  const seed = seedOf();
  using watched = new Watched(100);
  const count = mappingsUntilDemoted(watched, 1000, 0.1, seed);
  // 100 are free; 64 fill the bucket; some follow one another by chance.
  equal(count >= 164 && count < 200, true, `${count} mappings; seed ${seed}`);
});

Deno.test("ranges that come back now and then do not demote a file", () => {
  const seed = seedOf();
  using watched = new Watched(100);
  equal(mappingsUntilDemoted(watched, 10_000, 100, seed), -1, `seed ${seed}`);
});

Deno.test("a clock that is set back does not demote a file", () => {
  const seed = seedOf();
  using watched = new Watched(100);
  for (let hour = 0; hour < 10; hour++) {
    equal(mappingsUntilDemoted(watched, 1000, 100, seed + hour), -1, `seed ${seed}`);
    watched.now -= 60 * 60_000;
  }
});

Deno.test("a demotion ends, and is not a later file's that has the inode number", () => {
  const seed = seedOf();
  using watched = new Watched(100);
  const { table, nodeid } = watched;
  equal(table.isDemoted(nodeid, BIRTH, watched.now), false);
  equal(mappingsUntilDemoted(watched, 1000, 0, seed) > 0, true, `seed ${seed}`);
  equal(table.isDemoted(nodeid, BIRTH, watched.now), true);
  equal(table.isDemoted(nodeid, BIRTH + 1, watched.now), false);
  equal(table.isDemoted(nodeid, BIRTH, watched.now + 60_000), true);
  equal(table.isDemoted(nodeid, BIRTH, watched.now + 60 * 60_000), false);
});
