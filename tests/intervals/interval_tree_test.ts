/**
 * Interval trees against a sorted list.
 *
 * A failure prints its seed: VIRTIOFSD_TS_SEED=N VIRTIOFSD_TS_STEPS=M deno test -A tests/intervals/ runs it again.
 */

import { equal, throws } from "node:assert/strict";
import { IntervalNodes, IntervalTree } from "../../mod.ts";
import { randomNumbers, seedOf, STEPS } from "./random.ts";

/** What the tree is to be: intervals in a list, searched from one end to the other. */
class NaiveTree {
  readonly list: { node: number; start: number; end: number }[] = [];

  insert(node: number, start: number, end: number): void {
    this.list.push({ node, start, end });
    this.list.sort((a, b) => a.start - b.start || a.node - b.node);
  }

  remove(node: number): void {
    this.list.splice(this.list.findIndex((interval) => interval.node === node), 1);
  }

  overlapping(start: number, end: number): number[] {
    return this.list.filter((one) => one.start < end && one.end > start).map(({ node }) => node);
  }
}

/** Every rule of the structure, for each node below `node`. Returns how many there are. */
function check(nodes: IntervalNodes, node: number): number {
  if (node === 0) return 0;
  const { starts, ends, reaches, left, right, heights } = nodes;
  const [before, after] = [left[node]!, right[node]!];
  const count = check(nodes, before) + check(nodes, after) + 1;
  equal(Math.abs(heights[before]! - heights[after]!) <= 1, true, "balanced");
  equal(heights[node], Math.max(heights[before]!, heights[after]!) + 1, "height");
  equal(reaches[node], Math.max(ends[node]!, reaches[before]!, reaches[after]!), "reach");
  if (before !== 0) {
    equal(
      starts[before]! < starts[node]! || (starts[before] === starts[node] && before < node),
      true,
    );
  }
  if (after !== 0) {
    equal(starts[after]! > starts[node]! || (starts[after] === starts[node] && after > node), true);
  }
  return count;
}

Deno.test("random steps come to the same as with a sorted list", () => {
  const seed = seedOf();
  const next = randomNumbers(seed);
  const count = 24;
  let nodes = new IntervalNodes(count);
  const roots = new Int32Array(3);
  let trees = [0, 1, 2].map((index) => new IntervalTree(nodes, roots, index));
  let naive = trees.map(() => new NaiveTree());
  const owner = new Int8Array(count + 1).fill(-1);
  let what = "";
  try {
    for (let step = 0; step < STEPS; step++) {
      if (step % 5000 === 4999) {
        // Elsewhere in memory, and with bytes before it.
        const buffer = new SharedArrayBuffer(IntervalNodes.byteSize(count) + 16);
        nodes = new IntervalNodes(count, buffer, 16);
        roots.fill(0);
        trees = [0, 1, 2].map((index) => new IntervalTree(nodes, roots, index));
        naive = trees.map(() => new NaiveTree());
        owner.fill(-1);
      }
      const node = 1 + next(count);
      const which = next(3);
      const scale = next(8) === 0 ? 2 ** 40 : 1;
      const start = next(60) * scale;
      const end = start + (1 + next(next(4) === 0 ? 60 : 6)) * scale;
      what = `step ${step}: tree ${which}, node ${node}, [${start}, ${end})`;
      if (next(2000) === 0) {
        trees[which]!.clear();
        naive[which]!.list.length = 0;
        for (let i = 1; i <= count; i++) if (owner[i] === which) owner[i] = -1;
      } else if (owner[node] === -1) {
        trees[which]!.insert(node, start, end);
        naive[which]!.insert(node, start, end);
        owner[node] = which;
      } else if (next(2) === 0) {
        trees[owner[node]!]!.remove(node);
        naive[owner[node]!]!.remove(node);
        owner[node] = -1;
      }
      const tree = trees[which]!;
      const expected = naive[which]!.overlapping(start, end);
      for (let found = tree.first(start, end), i = 0;; i++) {
        equal(found, expected[i] ?? 0, what);
        if (found === 0) break;
        found = tree.next(found, start, end);
      }
      equal(check(nodes, roots[which]!), naive[which]!.list.length, what);
      equal(tree.isEmpty, naive[which]!.list.length === 0, what);
    }
  } catch (error) {
    throw new Error(`${what}; again with VIRTIOFSD_TS_SEED=${seed} VIRTIOFSD_TS_STEPS=${STEPS}`, {
      cause: error,
    });
  }
});

Deno.test("what overlaps can be removed while it is gone through", () => {
  const nodes = new IntervalNodes(100);
  const tree = new IntervalTree(nodes);
  for (let node = 1; node <= 100; node++) tree.insert(node, node % 10, node % 10 + 5);
  let seen = 0;
  for (let node = tree.first(0, 100), then = 0; node !== 0; node = then) {
    tree.remove(node);
    then = tree.next(node, 0, 100);
    seen++;
  }
  equal(seen, 100);
  equal(tree.isEmpty, true);
});

Deno.test("a large tree stays shallow", () => {
  const count = 100_000;
  const nodes = new IntervalNodes(count);
  const roots = new Int32Array(1);
  const tree = new IntervalTree(nodes, roots);
  for (let node = 1; node <= count; node++) tree.insert(node, node * 10, node * 10 + 10);
  // 1.44 log2(n), the bound of AVL trees.
  equal(nodes.heights[roots[0]!]! <= 24, true);
  equal(tree.first(500_005, 500_006), 50_000);
  equal(tree.first(count * 10 + 10, 2 ** 50), 0);
  equal(check(nodes, roots[0]!), count);
});

Deno.test("mistakes of the caller are asserted", () => {
  const nodes = new IntervalNodes(2);
  const tree = new IntervalTree(nodes);
  tree.insert(1, 0, 1);
  throws(() => tree.insert(1, 5, 6), /at most one tree/);
  throws(() => tree.insert(3, 5, 6), /one of these/);
  throws(() => tree.insert(2, 6, 6), /an interval/);
  throws(() => tree.remove(2), /in a tree/);
  new IntervalTree(nodes).insert(2, 0, 1);
  throws(() => tree.remove(2), /in this tree/);
});
