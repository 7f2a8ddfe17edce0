/**
 * A state of the file system that there is only one copy of: names, and what they lead to.
 *
 * @module
 */

import { INNER_NAME, PLACES, valueText, ZEROS } from "./operations.ts";

/** What a name can lead to. */
export interface Node {
  readonly kind: "file" | "directory" | "link";
  /** A file's bytes, a symbolic link's target. */
  readonly content: string;
  /** Permission bits. */
  readonly mode: number;
  /** The value of the one extended attribute, or null. */
  readonly xattr: string | null;
}

/** The node of `DIRECTORIES[i]` is `i + 1`; 0 is none. Numbers are not negative: a walk leads to a node, or to an errno. */
export const DIRECTORY_NODES = [1, 2] as const;
/** Numbers of nodes that were there before: one for each place at most. */
export const FOUND_NODE = 3;
/** Numbers of nodes that operations make. */
export const FIRST_NODE: number = FOUND_NODE + PLACES.length;
/** Nodes that nobody reaches are swept when there are more of all. */
const NODE_COUNT_SWEPT = 32;

/** Immutable: each change is a new one. */
export class State {
  /** Per place: the node that the name leads to, or 0. */
  readonly entries: readonly number[];
  /** Per open file: its node, or 0. */
  readonly handles: readonly number[];
  readonly nodes: ReadonlyMap<number, Node>;
  #key: string | null = null;

  constructor(
    entries: readonly number[],
    handles: readonly number[],
    nodes: ReadonlyMap<number, Node>,
  ) {
    this.entries = entries;
    this.handles = handles;
    this.nodes = nodes;
  }

  /** Nothing but the directories. */
  static empty(handleCount: number): State {
    const directory: Node = { kind: "directory", content: "", mode: 0o755, xattr: null };
    return new State(
      PLACES.map(() => 0),
      Array<number>(handleCount).fill(0),
      new Map(DIRECTORY_NODES.map((node) => [node, directory])),
    );
  }

  /** Two states with the same key are the same to everybody, the nodes' numbers included. */
  get key(): string {
    return this.#key ??= this.#text();
  }

  /** The node of a number that is in use. */
  node(id: number): Node {
    return this.nodes.get(id)!;
  }

  /** The state with another node at a place, or none (0). */
  withEntry(place: number, id: number): State {
    return new State(this.entries.with(place, id), this.handles, this.nodes);
  }

  withHandle(handle: number, id: number): State {
    return new State(this.entries, this.handles.with(handle, id), this.nodes);
  }

  withNode(id: number, node: Node): State {
    return new State(this.entries, this.handles, new Map(this.nodes).set(id, node));
  }

  /** All files closed. */
  withoutHandles(): State {
    return new State(this.entries, this.handles.map(() => 0), this.nodes);
  }

  /** Without nodes that are reached neither by name, nor by handle, nor by `held`. */
  swept(held: readonly number[]): State {
    if (this.nodes.size <= NODE_COUNT_SWEPT) return this;
    const used = new Set<number>(
      [...DIRECTORY_NODES, ...this.entries, ...this.handles, ...held],
    );
    const nodes = new Map([...this.nodes].filter(([id]) => used.has(id)));
    return new State(this.entries, this.handles, nodes);
  }

  /** What stat(2) says of a node. `countsDirectories`: whether the host's file system counts subdirectories as links. */
  attributes(id: number, countsDirectories: boolean): string {
    const node = this.node(id);
    switch (node.kind) {
      case "file":
        return attributesText("file", node.mode, this.#links(id), node.content.length);
      case "link":
        return attributesText("link", null, this.#links(id), node.content.length);
      case "directory":
        return attributesText("dir", node.mode, countsDirectories ? this.#links(id) : null, null);
    }
  }

  /** The whole tree as text in which the nodes' numbers do not show, as the host can see it. */
  snapshot(): string {
    const seen: number[] = [];
    const parts = DIRECTORY_NODES.map((id) => this.node(id).mode.toString(8));
    this.entries.forEach((id, place) => {
      if (id === 0) return;
      const first = seen.indexOf(id);
      if (first < 0) seen.push(id);
      const what = first < 0
        ? nodeText(this.node(id))
        : `= ${PLACES[this.entries.indexOf(id)]!.path}`;
      parts.push(`${PLACES[place]!.path} ${what}`);
    });
    return parts.join("; ");
  }

  #links(id: number): number {
    let count = 0;
    for (const entry of this.entries) if (entry === id) count++;
    if (this.node(id).kind !== "directory") return count;
    const own = (DIRECTORY_NODES as readonly number[]).indexOf(id);
    // Its name, and its own "."; an empty one that has been removed has neither.
    if (own < 0) return count > 0 ? 2 : 0;
    let inside = own === 0 ? 1 : 0;
    this.entries.forEach((entry, place) => {
      if (PLACES[place]!.directory !== own || entry === 0) return;
      if (this.node(entry).kind === "directory") inside++;
    });
    return 2 + inside;
  }

  #text(): string {
    let text = `${this.entries.join()}|${this.handles.join()}`;
    const done = new Set<number>();
    const add = (id: number): void => {
      if (id === 0 || done.has(id)) return;
      done.add(id);
      text += `|${id}:${nodeText(this.node(id))}`;
    };
    DIRECTORY_NODES.forEach(add);
    this.entries.forEach(add);
    this.handles.forEach(add);
    return text;
  }
}

/** A node in a few words. */
export function nodeText({ kind, content, mode, xattr }: Node): string {
  const attribute = xattr === null ? "" : ` xattr ${valueText(xattr)}`;
  if (kind === "link") return `-> ${valueText(content)}`;
  if (kind === "directory") return `dir ${mode.toString(8)}${attribute}`;
  const bytes = content === "" ? "empty" : content === ZEROS ? "zeros" : valueText(content);
  return `file ${mode.toString(8)} ${bytes}${attribute}`;
}

/** How attributes are written down; null is what is not compared. */
export function attributesText(
  kind: string,
  mode: number | null,
  links: number | null,
  size: number | null,
): string {
  let text = kind;
  if (mode !== null) text += ` ${mode.toString(8)}`;
  if (links !== null) text += `, ${links} links`;
  return size === null ? text : `${text}, ${size} bytes`;
}

/** The names in a directory, in order, with the one that is always there. */
export function listingText(directory: number, names: readonly string[]): string {
  return [...names, ...(directory === 0 ? [INNER_NAME] : [])].sort().join(" ");
}
