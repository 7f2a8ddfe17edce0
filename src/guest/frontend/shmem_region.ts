/**
 * A shared-memory region of the device (virtio 1.3, 2.10): address space of ours in which the daemon has
 * pieces of files mapped (vhost-user: SHMEM_MAP).
 *
 * The rules are the specification's: a mapping may not lie over another, and one is removed as a whole.
 *
 * @module
 */

import { IntervalNodes, IntervalTree } from "../../intervals/interval_tree.ts";
import type { Status } from "../../sys/errno.ts";
import { EBUSY, EEXIST, EINVAL, ENOENT } from "../../sys/errno.ts";
import { libc, status } from "../../sys/libc.ts";
import { mapAddress, NativeMemory, unmapAddress } from "../../sys/native_memory.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from "../../wire/linux.ts";

const PAGE_SIZE = 4096;
/** Mappings that there is room for at first; it doubles when they are more. */
const NODE_COUNT = 512;

/** Address space of `size` bytes where nothing is accessible until the daemon maps something. */
export class ShmemRegion implements Disposable {
  readonly size: number;
  readonly address: number;
  /** Node of the live mapping at each offset, and the nodes that no mapping has. */
  readonly #nodeAt = new Map<number, number>();
  readonly #freeNodes: number[] = [];
  #nodes = new IntervalNodes(NODE_COUNT);
  #tree = new IntervalTree(this.#nodes);
  #writable = new Uint8Array(NODE_COUNT + 1);
  #released = false;
  #settled = false;

  constructor(size: number) {
    this.size = size;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    this.address = mapAddress(null, size, PROT_NONE, flags, -1, 0);
    for (let node = NODE_COUNT; node > 0; node--) this.#freeNodes.push(node);
  }

  /** The bytes. Touching what is not mapped is a crash (SIGSEGV), touching beyond a file's end, too (SIGBUS). */
  get bytes(): NativeMemory {
    return new NativeMemory(this.address, this.size);
  }

  /** Live mappings as [offset, length], for whoever wants to look. */
  get mappings(): ReadonlyMap<number, number> {
    const nodes = this.#nodes;
    return new Map(
      [...this.#nodeAt].map(([offset, node]) => [offset, nodes.end(node) - nodes.start(node)]),
    );
  }

  /** Whether all of [offset, offset + length) can be touched, and written where that is asked. */
  covers(offset: number, length: number, writable: boolean): boolean {
    const end = offset + length;
    let covered = offset;
    let node = this.#tree.first(offset, end);
    for (; node !== 0 && covered < end; node = this.#tree.next(node, offset, end)) {
      if (this.#nodes.start(node) > covered) return false;
      if (writable && this.#writable[node] === 0) return false;
      covered = this.#nodes.end(node);
    }
    return covered >= end;
  }

  /** What is mapped stays mapped, and nothing is added: the memory is going to be touched without looking. */
  settle(): void {
    this.#settled = true;
  }

  /** vhost-user: SHMEM_MAP. Returns 0 or a negative errno. */
  map(offset: number, length: number, fd: number, fdOffset: number, writable: boolean): Status {
    if (this.#settled) return -EBUSY;
    if (!this.#holds(offset, length) || fdOffset % PAGE_SIZE !== 0) return -EINVAL;
    if (this.#tree.first(offset, offset + length) !== 0) return -EEXIST;
    const protection = PROT_READ | (writable ? PROT_WRITE : 0);
    const result = this.#place(offset, length, protection, MAP_SHARED, fd, fdOffset);
    if (result < 0) return result;
    const node = this.#freeNodes.pop() ?? this.#grow();
    this.#tree.insert(node, offset, offset + length);
    this.#nodeAt.set(offset, node);
    this.#writable[node] = writable ? 1 : 0;
    return 0;
  }

  /** vhost-user: SHMEM_UNMAP. Returns 0 or a negative errno. */
  unmap(offset: number, length: number): Status {
    if (this.#settled) return -EBUSY;
    const node = this.#nodeAt.get(offset);
    if (node === undefined || this.#nodes.end(node) !== offset + length) return -ENOENT;
    this.#nodeAt.delete(offset);
    this.#tree.remove(node);
    this.#freeNodes.push(node);
    return this.#place(offset, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  /** Removes every mapping, as a reset of the device does. */
  unmapAll(): void {
    for (const [offset, length] of this.mappings) this.unmap(offset, length);
  }

  [Symbol.dispose](): void {
    if (this.#released) return;
    this.#released = true;
    unmapAddress(this.address, this.size);
  }

  /** Makes room for twice as many mappings. Returns a node that is free. */
  #grow(): number {
    const old = this.#nodes;
    this.#nodes = new IntervalNodes(old.count * 2);
    this.#tree = new IntervalTree(this.#nodes);
    const writable = new Uint8Array(old.count * 2 + 1);
    writable.set(this.#writable);
    this.#writable = writable;
    for (const node of this.#nodeAt.values()) {
      this.#tree.insert(node, old.start(node), old.end(node));
    }
    for (let node = this.#nodes.count; node > old.count + 1; node--) this.#freeNodes.push(node);
    return old.count + 1;
  }

  #holds(offset: number, length: number): boolean {
    return length > 0 && offset % PAGE_SIZE === 0 && length % PAGE_SIZE === 0 &&
      offset + length <= this.size;
  }

  #place(
    offset: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    fdOffset: number,
  ): Status {
    const address = Deno.UnsafePointer.create(BigInt(this.address + offset));
    const result = libc.mmap(
      address,
      BigInt(length),
      protection,
      flags | MAP_FIXED | MAP_NORESERVE,
      fd,
      BigInt(fdOffset),
    );
    const failed = result === null || Deno.UnsafePointer.value(result) !==
        BigInt(this.address + offset);
    return failed ? status(-1) : 0;
  }
}
