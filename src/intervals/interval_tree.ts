/**
 * Interval trees: which of many ranges of numbers overlap a given one.
 *
 * The trees are AVL trees ordered by where intervals start; each node also knows how far its subtree reaches, so that a subtree without
 * an overlap is never entered. Nodes are numbers and their fields lie in flat arrays: nothing is allocated after the arrays, and they may
 * be memory that threads and processes share (whoever shares them takes turns by a lock of their own).
 *
 * @module
 */

import { assert } from "../assert.ts";

/** Bytes of a node: three doubles (start, end, how far the subtree reaches) and three 32-bit words (left, right, height). */
const NODE_SIZE = 3 * 8 + 3 * 4;

/**
 * Storage for the nodes 1 to `count` of interval trees; 0 stands for "no node". It is flat numbers, in memory of its own or in memory that
 * threads and processes share. Memory that is all zero is valid: no node is in a tree.
 *
 * @example Storage that a Worker can be sent
 * ```ts
 * import { IntervalNodes, IntervalTree } from "../../mod.ts";
 *
 * const shared = new SharedArrayBuffer(IntervalNodes.byteSize(100) + 8);
 * const nodes = new IntervalNodes(100, shared);
 * const root = new Int32Array(shared, IntervalNodes.byteSize(100), 1);
 * new IntervalTree(nodes, root).insert(1, 0, 4096);
 * // The same tree, as another thread sees it:
 * const seen = new IntervalTree(new IntervalNodes(100, shared), root);
 * if (seen.first(0, 1) !== 1) throw new Error("not shared");
 * ```
 */
export class IntervalNodes {
  /** How many nodes there are. */
  readonly count: number;
  /** Fields of the nodes, for {@linkcode IntervalTree}. Those of node 0 stay zero. */
  readonly starts: Float64Array;
  /** See `starts`. */
  readonly ends: Float64Array;
  /** The highest end in the node's subtree. */
  readonly reaches: Float64Array;
  /** The child before the node, or 0. */
  readonly left: Int32Array;
  /** The child after it, or 0. */
  readonly right: Int32Array;
  /** Height of the node's subtree: 1 for a leaf, 0 for a node that is in no tree. */
  readonly heights: Int32Array;

  /** `buffer` has {@linkcode IntervalNodes.byteSize} bytes from `byteOffset` on, a multiple of 8; by default it is made. */
  constructor(count: number, buffer?: ArrayBufferLike, byteOffset = 0) {
    assert(Number.isInteger(count) && count >= 0 && count < 2 ** 31 - 1, "a count of nodes");
    assert(byteOffset % 8 === 0, "doubles lie at multiples of 8");
    const memory = buffer ?? new ArrayBuffer(IntervalNodes.byteSize(count));
    const length = count + 1;
    this.count = count;
    this.starts = new Float64Array(memory, byteOffset, length);
    this.ends = new Float64Array(memory, byteOffset + length * 8, length);
    this.reaches = new Float64Array(memory, byteOffset + length * 16, length);
    this.left = new Int32Array(memory, byteOffset + length * 24, length);
    this.right = new Int32Array(memory, byteOffset + length * 28, length);
    this.heights = new Int32Array(memory, byteOffset + length * 32, length);
  }

  /** Bytes of memory for `count` nodes: a multiple of 8. */
  static byteSize(count: number): number {
    return Math.ceil((count + 1) * NODE_SIZE / 8) * 8;
  }

  /** Where the node's interval starts. It is kept when the node has left its tree. */
  start(node: number): number {
    return this.starts[node]!;
  }

  /** Where it ends: the first number that is not in it. */
  end(node: number): number {
    return this.ends[node]!;
  }
}

/**
 * One tree of half-open intervals [start, end) of whole numbers below 2^53. They may overlap each other. The caller picks the number of
 * each node; a node is in at most one tree.
 *
 * Inserting, removing and finding take time in proportion to the logarithm of the tree's size, and allocate nothing.
 *
 * @example All intervals that overlap a range
 * ```ts
 * import { IntervalNodes, IntervalTree } from "../../mod.ts";
 *
 * const nodes = new IntervalNodes(3);
 * const tree = new IntervalTree(nodes);
 * tree.insert(1, 0, 10);
 * tree.insert(2, 5, 30);
 * tree.insert(3, 40, 50);
 * const found: number[] = [];
 * for (let node = tree.first(8, 45); node !== 0; node = tree.next(node, 8, 45)) {
 *   found.push(nodes.start(node));
 * }
 * if (found.join() !== "0,5,40") throw new Error(found.join());
 * tree.remove(2);
 * if (tree.first(10, 40) !== 0) throw new Error("it was removed");
 * ```
 */
export class IntervalTree {
  readonly #nodes: IntervalNodes;
  readonly #roots: Int32Array;
  readonly #rootIndex: number;

  /** The number of the tree's root is kept in `roots[rootIndex]`, 0 for an empty tree; by default the tree keeps it itself. */
  constructor(nodes: IntervalNodes, roots: Int32Array = new Int32Array(1), rootIndex = 0) {
    assert(rootIndex >= 0 && rootIndex < roots.length, "the root has a place");
    this.#nodes = nodes;
    this.#roots = roots;
    this.#rootIndex = rootIndex;
  }

  /** Whether there is no interval. */
  get isEmpty(): boolean {
    return this.#root === 0;
  }

  /** Adds an interval as node `node`, which is in no tree. */
  insert(node: number, start: number, end: number): void {
    const nodes = this.#nodes;
    assert(node >= 1 && node <= nodes.count, "the node is one of these");
    assert(nodes.heights[node] === 0, "a node is in at most one tree");
    assert(start >= 0 && start < end && end <= Number.MAX_SAFE_INTEGER, "an interval");
    nodes.starts[node] = start;
    nodes.ends[node] = end;
    nodes.reaches[node] = end;
    nodes.heights[node] = 1;
    this.#root = inserted(nodes, this.#root, node);
  }

  /** Takes node `node` out of this tree, which it is in. */
  remove(node: number): void {
    const nodes = this.#nodes;
    assert(node >= 1 && node <= nodes.count, "the node is one of these");
    assert(nodes.heights[node]! > 0, "the node is in a tree");
    this.#root = removed(nodes, this.#root, node);
    nodes.left[node] = 0;
    nodes.right[node] = 0;
    nodes.heights[node] = 0;
  }

  /** The first interval that overlaps [start, end): the one that starts lowest, of several the lowest node; 0 if there is none. */
  first(start: number, end: number): number {
    return firstOf(this.#nodes, this.#root, start, end);
  }

  /** The one after `node` in that order, or 0. The node may have been removed since it was found. */
  next(node: number, start: number, end: number): number {
    const nodes = this.#nodes;
    const { ends, reaches, left, right } = nodes;
    // The deepest place where we went left and something on the right of it reaches far enough: what is lower has been searched.
    let turn = 0;
    let at = this.#root;
    while (at !== 0) {
      if (at === node) {
        if (reaches[right[at]!]! > start) return firstOf(nodes, right[at]!, start, end);
        break;
      }
      if (isBefore(nodes, node, at)) {
        if (ends[at]! > start || reaches[right[at]!]! > start) turn = at;
        at = left[at]!;
      } else at = right[at]!;
    }
    if (turn === 0 || nodes.starts[turn]! >= end) return 0;
    return ends[turn]! > start ? turn : firstOf(nodes, right[turn]!, start, end);
  }

  /** Takes all intervals out. */
  clear(): void {
    cleared(this.#nodes, this.#root);
    this.#root = 0;
  }

  get #root(): number {
    return this.#roots[this.#rootIndex]!;
  }

  set #root(node: number) {
    this.#roots[this.#rootIndex] = node;
  }
}

/** The order of a tree: by start, then by number. */
function isBefore(nodes: IntervalNodes, one: number, other: number): boolean {
  const a = nodes.starts[one]!;
  const b = nodes.starts[other]!;
  return a < b || (a === b && one < other);
}

/**
 * The first overlapping node of a subtree, or 0. Where the left side reaches beyond `start` there is no way back: if none of it overlaps,
 * what reaches so far starts at or after `end`, and so does all that follows.
 */
function firstOf(nodes: IntervalNodes, root: number, start: number, end: number): number {
  const { starts, ends, reaches, left, right } = nodes;
  let at = root;
  while (at !== 0) {
    if (reaches[left[at]!]! > start) at = left[at]!;
    else if (starts[at]! >= end) return 0;
    else if (ends[at]! > start) return at;
    else at = right[at]!;
  }
  return 0;
}

/** Adds `node` to the subtree of `root`; the result is the subtree's root now. */
function inserted(nodes: IntervalNodes, root: number, node: number): number {
  if (root === 0) return node;
  if (isBefore(nodes, node, root)) {
    nodes.left[root] = inserted(nodes, nodes.left[root]!, node);
  } else nodes.right[root] = inserted(nodes, nodes.right[root]!, node);
  return balanced(nodes, root);
}

/** Takes `node` out of the subtree of `root`; the result is the subtree's root now. */
function removed(nodes: IntervalNodes, root: number, node: number): number {
  assert(root !== 0, "the node is in this tree");
  const { left, right } = nodes;
  if (root !== node) {
    if (isBefore(nodes, node, root)) left[root] = removed(nodes, left[root]!, node);
    else right[root] = removed(nodes, right[root]!, node);
    return balanced(nodes, root);
  }
  if (left[root] === 0) return right[root]!;
  if (right[root] === 0) return left[root]!;
  let heir = right[root]!;
  while (left[heir] !== 0) heir = left[heir]!;
  const rest = removed(nodes, right[root]!, heir);
  left[heir] = left[root]!;
  right[heir] = rest;
  return balanced(nodes, heir);
}

/** Restores the balance of a subtree whose sides differ by two at most, and what its root says about it. */
function balanced(nodes: IntervalNodes, root: number): number {
  const { left, right, heights } = nodes;
  const slope = heights[left[root]!]! - heights[right[root]!]!;
  if (slope > 1) {
    const child = left[root]!;
    if (heights[left[child]!]! < heights[right[child]!]!) left[root] = turnedLeft(nodes, child);
    return turnedRight(nodes, root);
  }
  if (slope < -1) {
    const child = right[root]!;
    if (heights[right[child]!]! < heights[left[child]!]!) right[root] = turnedRight(nodes, child);
    return turnedLeft(nodes, root);
  }
  describe(nodes, root);
  return root;
}

function turnedRight(nodes: IntervalNodes, root: number): number {
  const { left, right } = nodes;
  const top = left[root]!;
  left[root] = right[top]!;
  right[top] = root;
  describe(nodes, root);
  describe(nodes, top);
  return top;
}

function turnedLeft(nodes: IntervalNodes, root: number): number {
  const { left, right } = nodes;
  const top = right[root]!;
  right[root] = left[top]!;
  left[top] = root;
  describe(nodes, root);
  describe(nodes, top);
  return top;
}

/** Height and reach of a node, from its children's. */
function describe(nodes: IntervalNodes, node: number): void {
  const { ends, reaches, heights } = nodes;
  const before = nodes.left[node]!;
  const after = nodes.right[node]!;
  heights[node] = Math.max(heights[before]!, heights[after]!) + 1;
  reaches[node] = Math.max(ends[node]!, reaches[before]!, reaches[after]!);
}

function cleared(nodes: IntervalNodes, root: number): void {
  if (root === 0) return;
  const { left, right, heights } = nodes;
  cleared(nodes, left[root]!);
  cleared(nodes, right[root]!);
  left[root] = 0;
  right[root] = 0;
  heights[root] = 0;
}
