import { equal } from "node:assert/strict";
import { addRange, allowsRange } from "../../src/passthrough/lock_ranges.ts";
import { Scratch } from "../../src/passthrough/scratch.ts";
import { type LockListHead, LockTable } from "../../src/state/lock_table.ts";
import { libc } from "../../src/sys/libc.ts";
import { openOwnDirectories } from "../../src/sys/own_directories.ts";
import { FreshState, someFd } from "../state/fresh_state.ts";

const NODEID = 7;
const BOUND = 1600;
const WORTH_COUNTING = BOUND / 16;

/** Owners that hold nothing, whatever has been added for them. */
class Owners implements Disposable {
  readonly #state = new FreshState();
  readonly locks = new LockTable(this.#state.memory);
  readonly #own = openOwnDirectories();
  readonly share = {
    budget: { lockRangeMax: BOUND },
    locks: this.locks,
    scratch: new Scratch(),
    descriptorInfo: this.#own.fdinfo,
  };
  #first = 0;
  readonly #heads: LockListHead = {
    firstLock: () => this.#first,
    setFirstLock: (_, lock) => void (this.#first = lock),
  };

  add(fd = someFd()): number {
    return this.locks.insert(this.#heads, NODEID, this.locks.count + 1, 0, fd);
  }

  call(slot: number, times: number): void {
    for (let i = 0; i < times; i++) addRange(this.share, slot);
  }

  [Symbol.dispose](): void {
    libc.close(this.#own.fd);
    libc.close(this.#own.fdinfo);
    this.locks.removeList(this.#first);
    this.#state[Symbol.dispose]();
  }
}

Deno.test("at the bound all owners are counted that have called since", () => {
  using owners = new Owners();
  const { locks, share } = owners;
  const [a, b, c] = [owners.add(), owners.add(), owners.add()];
  owners.call(a, 400);
  owners.call(c, BOUND / 2 - 401);
  equal(allowsRange(share), true);
  equal(locks.uncountedRanges, BOUND - 2, "there was no need to count");
  owners.call(b, 1);
  equal(allowsRange(share), true);
  equal(locks.rangeCount, 0);
  equal(locks.uncountedRanges, 0);
});

Deno.test("ranges are not counted again before it is worth the work", () => {
  using owners = new Owners();
  const { locks, share } = owners;
  const [a, b] = [owners.add(), owners.add()];
  // As if they were there: what was counted is believed.
  locks.setRanges(a, BOUND - 1);
  for (let i = 0; i < WORTH_COUNTING / 2 - 1; i++) {
    equal(allowsRange(share), false);
    owners.call(b, 1);
  }
  equal(locks.uncountedRanges, WORTH_COUNTING - 2);
  equal(allowsRange(share), false);
  equal(locks.uncountedRanges, WORTH_COUNTING - 2);
  owners.call(b, 1);
  equal(allowsRange(share), false);
  equal(locks.uncountedRanges, 0, "b was counted");
  equal(locks.rangeCount, BOUND - 1, "a was not: it had not called");
});

Deno.test("an owner that cannot be counted is taken to hold what was added", () => {
  using owners = new Owners();
  const { locks, share } = owners;
  const slot = owners.add(1_000_000);
  owners.call(slot, BOUND / 2);
  equal(allowsRange(share), false);
  equal(locks.rangeCount, BOUND);
});
