/**
 * The inodes that the guest knows, shared by all queues.
 *
 * The life of a slot:
 *  1. free            REFERENCES 0, on the free list or never used
 *  2. known           `insert()`: REFERENCES 1, LOOKUPS 1, in the hash; `find()` adds lookups
 *  3. in use          `acquire()` … `release()` around each request that touches it: REFERENCES 1 + n
 *  4. forgotten       `forget()` takes LOOKUPS to 0: out of the hash at once, REFERENCES loses the guest's one
 *  5. free again      the last `release()` closes the descriptor; GENERATION tells old and new apart
 *
 * Between `acquire` and `release` the descriptor cannot be closed by another queue's FORGET, so its number
 * cannot come to mean another file: that is what keeps "checked, then opened" true when a guest races itself.
 *
 * The mutex guards the hash, the free list and LOOKUPS; REFERENCES is atomic by itself. Nothing is called
 * with the mutex held that could block.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { FUSE_ROOT_ID } from "../wire/fuse.ts";
import { libc } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import {
  INODE_COUNT_MAX,
  INODE_FLAG_HASHED,
  INODE_HASH_OFFSET,
  INODE_SLOT,
  INODE_TABLE_OFFSET,
  STATE_HEADER,
} from "./layout.ts";
import { Mutex } from "./mutex.ts";

const WORD = 4294967296;
const HASH_BITS_FIRST = 10;
const HASH = INODE_HASH_OFFSET >>> 2;
const TABLE = INODE_TABLE_OFFSET / 4;
const SLOT_WORDS = INODE_SLOT.SIZE >>> 2;

const DEV_LO = INODE_SLOT.DEV_LO >>> 2;
const DEV_HI = INODE_SLOT.DEV_HI >>> 2;
const INO_LO = INODE_SLOT.INO_LO >>> 2;
const INO_HI = INODE_SLOT.INO_HI >>> 2;
const MOUNT_ID = INODE_SLOT.MOUNT_ID >>> 2;
const GENERATION = INODE_SLOT.GENERATION >>> 2;
const REFERENCES = INODE_SLOT.REFERENCES >>> 2;
const FD = INODE_SLOT.FD >>> 2;
const LOOKUPS_LO = INODE_SLOT.LOOKUPS_LO >>> 2;
const LOOKUPS_HI = INODE_SLOT.LOOKUPS_HI >>> 2;
const NEXT = INODE_SLOT.NEXT >>> 2;
const MODE = INODE_SLOT.MODE >>> 2;
const FLAGS = INODE_SLOT.FLAGS >>> 2;
const VERSION_SLOT = INODE_SLOT.VERSION_SLOT >>> 2;
const LOCKS = INODE_SLOT.LOCKS >>> 2;
const HANDLE_TYPE = INODE_SLOT.HANDLE_TYPE >>> 2;
const HANDLE_SIZE = INODE_SLOT.HANDLE_SIZE >>> 2;

const FRESH = STATE_HEADER.INODE_FRESH >>> 2;
const FREE = STATE_HEADER.INODE_FREE >>> 2;
const USED = STATE_HEADER.INODE_USED >>> 2;
const HASH_BITS = STATE_HEADER.INODE_HASH_BITS >>> 2;
const FDS = STATE_HEADER.INODE_FDS >>> 2;

/**
 * What names an inode on the host. One object, filled again for each lookup.
 * The same inode seen through two mounts is two inodes to the guest, which may mount them separately.
 */
export class InodeKey {
  devLo = 0;
  devHi = 0;
  inoLo = 0;
  inoHi = 0;
  mountId = 0;
  /** The S_IFMT bits and permissions at that moment; not part of the name. */
  mode = 0;
  /** A file handle (linux/fcntl.h: struct file_handle), or size 0. Distinguishes an inode from a later one of the same number. */
  handleType = 0;
  handleSize = 0;
  readonly handle: Uint8Array = new Uint8Array(INODE_SLOT.HANDLE_SIZE_MAX);
}

/** Gives back what an inode has in other tables, when its slot is about to be freed. */
export interface InodeEnd {
  /** Its first lock owner. */
  releaseLocks(firstLock: number): void;
  /** Its slot in the version table. */
  releaseVersion(slot: number): void;
}

/** The table, seen by one thread. All threads make their own over the same memory. */
export class InodeTable {
  /** Whether the last {@linkcode insert} took its descriptor. */
  inserted = false;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #mutex: Mutex;
  readonly #end: InodeEnd;

  constructor(memory: NativeMemory, end: InodeEnd) {
    this.#u32 = memory.u32;
    this.#i32 = memory.i32;
    this.#u8 = memory.u8;
    this.#mutex = new Mutex(memory, STATE_HEADER.INODE_MUTEX);
    this.#end = end;
    this.#mutex.lock();
    if (this.#u32[FRESH] === 0) {
      this.#u32[FRESH] = FUSE_ROOT_ID + 1;
      this.#u32[HASH_BITS] = HASH_BITS_FIRST;
    }
    this.#mutex.unlock();
  }

  /** Inodes known now, the root included. */
  get count(): number {
    return Atomics.load(this.#u32, USED);
  }

  /** Descriptors held by the table. */
  get fdCount(): number {
    return Atomics.load(this.#u32, FDS);
  }

  /** Puts the root into its slot. Replaces nothing: the slot must be free. */
  insertRoot(key: InodeKey, fd: number): void {
    this.#mutex.lock();
    assert(this.#u32[this.#word(FUSE_ROOT_ID) + REFERENCES] === 0, "the root slot is free");
    this.#fill(FUSE_ROOT_ID, key, fd);
    this.#mutex.unlock();
  }

  /** Keeps the slot from being freed until {@linkcode release}; false if the nodeid names no known inode. */
  acquire(nodeid: number): boolean {
    // Never-used slots are not looked at: reading them would make the sparse table grow.
    if (nodeid <= 0 || nodeid >= Atomics.load(this.#u32, FRESH)) return false;
    const index = this.#word(nodeid) + REFERENCES;
    let references = Atomics.load(this.#u32, index);
    while (references !== 0) {
      const seen = Atomics.compareExchange(this.#u32, index, references, references + 1);
      if (seen === references) return true;
      references = seen;
    }
    return false;
  }

  release(nodeid: number): void {
    const before = Atomics.sub(this.#u32, this.#word(nodeid) + REFERENCES, 1);
    assert(before > 0, "an inode is released once for each acquire");
    if (before === 1) this.#free(nodeid);
  }

  /** The O_PATH descriptor, or -1 if the inode is held by file handle. */
  fd(nodeid: number): number {
    return this.#i32[this.#word(nodeid) + FD]!;
  }

  /** File type bits (S_IFMT); they never change. */
  mode(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + MODE]!;
  }

  mountId(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + MOUNT_ID]!;
  }

  generation(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + GENERATION]!;
  }

  devLo(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + DEV_LO]!;
  }

  devHi(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + DEV_HI]!;
  }

  inoLo(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + INO_LO]!;
  }

  inoHi(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + INO_HI]!;
  }

  handleType(nodeid: number): number {
    return this.#i32[this.#word(nodeid) + HANDLE_TYPE]!;
  }

  handleSize(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + HANDLE_SIZE]!;
  }

  /** One byte of the file handle. */
  handleByte(nodeid: number, index: number): number {
    return this.#u8[INODE_TABLE_OFFSET + nodeid * INODE_SLOT.SIZE + INODE_SLOT.HANDLE + index]!;
  }

  /** Its slot in the version table, or 0. */
  versionSlot(nodeid: number): number {
    return Atomics.load(this.#u32, this.#word(nodeid) + VERSION_SLOT);
  }

  /** Gives an acquired inode a slot; false if another queue has done so. */
  setVersionSlot(nodeid: number, slot: number): boolean {
    return Atomics.compareExchange(this.#u32, this.#word(nodeid) + VERSION_SLOT, 0, slot) === 0;
  }

  /** Head of the inode's list of lock owners; guarded by the lock table's mutex. */
  firstLock(nodeid: number): number {
    return this.#u32[this.#word(nodeid) + LOCKS]!;
  }

  setFirstLock(nodeid: number, lock: number): void {
    this.#u32[this.#word(nodeid) + LOCKS] = lock;
  }

  /**
   * The nodeid of a known inode, with `lookups` added to its count; 0 if it is not known.
   *
   * Without a file handle in `key`, inodes held by handle do not match, because the host may have given their
   * number to another file since.
   */
  find(key: InodeKey, lookups: number): number {
    this.#mutex.lock();
    const nodeid = this.#findLocked(key);
    if (nodeid !== 0) this.#addLookups(nodeid, lookups);
    this.#mutex.unlock();
    return nodeid;
  }

  /**
   * One more lookup of an acquired inode: LINK's reply. False if another queue has made the guest forget it
   * meanwhile: then it is not known any more, and must not be named.
   */
  addLookup(nodeid: number): boolean {
    this.#mutex.lock();
    const known = (this.#u32[this.#word(nodeid) + FLAGS]! & INODE_FLAG_HASHED) !== 0;
    if (known) this.#addLookups(nodeid, 1);
    this.#mutex.unlock();
    return known;
  }

  /** The nodeid that (dev, ino) may have, or 0: a hint that costs no system call, for choosing the cheaper way to look up. */
  guess(devLo: number, devHi: number, inoLo: number, inoHi: number): number {
    this.#mutex.lock();
    let slot = this.#u32[this.#bucket(inoLo, inoHi, devLo, this.#u32[HASH_BITS]!)]!;
    while (slot !== 0) {
      const word = this.#word(slot);
      if (
        this.#u32[word + INO_LO] === inoLo && this.#u32[word + INO_HI] === inoHi &&
        this.#u32[word + DEV_LO] === devLo && this.#u32[word + DEV_HI] === devHi
      ) break;
      slot = this.#u32[word + NEXT]!;
    }
    this.#mutex.unlock();
    return slot;
  }

  /**
   * Makes an inode known, with one lookup, and returns its nodeid; 0 if the table is full. {@linkcode inserted} then
   * says whether `fd` (or -1) belongs to the table: not if another queue made the same inode known meanwhile. (The slot
   * itself cannot tell: a hostile guest may have made it forgotten again.)
   */
  insert(key: InodeKey, fd: number): number {
    this.#mutex.lock();
    let nodeid = this.#findLocked(key);
    this.inserted = false;
    if (nodeid !== 0) {
      this.#addLookups(nodeid, 1);
    } else {
      nodeid = this.#takeSlot();
      this.inserted = nodeid !== 0;
      if (nodeid !== 0) this.#fill(nodeid, key, fd);
    }
    this.#mutex.unlock();
    return nodeid;
  }

  /**
   * Takes `count` lookups back. A guest that forgets more than it was given gets no further than 0; the root is
   * never forgotten.
   */
  forget(nodeid: number, count: number): void {
    if (nodeid === FUSE_ROOT_ID || !this.acquire(nodeid)) return;
    this.#mutex.lock();
    const word = this.#word(nodeid);
    const before = this.#u32[word + LOOKUPS_LO]! + this.#u32[word + LOOKUPS_HI]! * WORD;
    const after = Math.max(0, before - count);
    this.#u32[word + LOOKUPS_LO] = after >>> 0;
    this.#u32[word + LOOKUPS_HI] = (after / WORD) >>> 0;
    const forgotten = before > 0 && after === 0;
    if (forgotten) this.#unhash(nodeid);
    this.#mutex.unlock();
    if (forgotten) this.release(nodeid);
    this.release(nodeid);
  }

  /** Forgets everything but the root, at DESTROY, a new INIT, or the end of a connection. No request may be running. */
  forgetAll(): void {
    const end = this.#u32[FRESH]!;
    for (let nodeid = FUSE_ROOT_ID + 1; nodeid < end; nodeid++) {
      if (this.#u32[this.#word(nodeid) + REFERENCES] !== 0) this.forget(nodeid, 2 ** 53);
    }
  }

  /** Takes the root out, closing its descriptor. */
  removeRoot(): void {
    this.#mutex.lock();
    this.#unhash(FUSE_ROOT_ID);
    this.#mutex.unlock();
    this.release(FUSE_ROOT_ID);
  }

  #word(nodeid: number): number {
    return TABLE + nodeid * SLOT_WORDS;
  }

  /** Index of the bucket's word. Inode numbers are often consecutive: the multiplication spreads them. */
  #bucket(inoLo: number, inoHi: number, devLo: number, bits: number): number {
    const mixed = Math.imul(inoLo ^ Math.imul(devLo, 0x85ebca6b) ^ inoHi, 0x9e3779b1);
    return HASH + (mixed >>> (32 - bits));
  }

  #findLocked(key: InodeKey): number {
    const u32 = this.#u32;
    let slot = u32[this.#bucket(key.inoLo, key.inoHi, key.devLo, u32[HASH_BITS]!)]!;
    while (slot !== 0) {
      const word = this.#word(slot);
      if (
        u32[word + INO_LO] === key.inoLo && u32[word + INO_HI] === key.inoHi &&
        u32[word + DEV_LO] === key.devLo && u32[word + DEV_HI] === key.devHi &&
        u32[word + MOUNT_ID] === key.mountId && this.#sameFile(slot, word, key)
      ) return slot;
      slot = u32[word + NEXT]!;
    }
    return 0;
  }

  /** An open descriptor pins the inode number; a slot without one is the same file only if the handles are equal. */
  #sameFile(slot: number, word: number, key: InodeKey): boolean {
    if (this.#i32[word + FD]! >= 0) return true;
    if (key.handleSize === 0 || key.handleSize !== this.#u32[word + HANDLE_SIZE]) return false;
    if (key.handleType !== this.#i32[word + HANDLE_TYPE]) return false;
    for (let i = 0; i < key.handleSize; i++) {
      if (key.handle[i] !== this.handleByte(slot, i)) return false;
    }
    return true;
  }

  #addLookups(nodeid: number, lookups: number): void {
    const word = this.#word(nodeid) + LOOKUPS_LO;
    const sum = this.#u32[word]! + lookups;
    this.#u32[word] = sum >>> 0;
    if (sum >= WORD) this.#u32[word + 1]!++;
  }

  #takeSlot(): number {
    const free = this.#u32[FREE]!;
    if (free !== 0) {
      this.#u32[FREE] = this.#u32[this.#word(free) + NEXT]!;
      return free;
    }
    const fresh = this.#u32[FRESH]!;
    if (fresh >= INODE_COUNT_MAX) return 0;
    Atomics.store(this.#u32, FRESH, fresh + 1);
    return fresh;
  }

  #fill(nodeid: number, key: InodeKey, fd: number): void {
    const u32 = this.#u32;
    const word = this.#word(nodeid);
    u32[word + DEV_LO] = key.devLo;
    u32[word + DEV_HI] = key.devHi;
    u32[word + INO_LO] = key.inoLo;
    u32[word + INO_HI] = key.inoHi;
    u32[word + MOUNT_ID] = key.mountId;
    u32[word + GENERATION]!++;
    this.#i32[word + FD] = fd;
    u32[word + LOOKUPS_LO] = 1;
    u32[word + LOOKUPS_HI] = 0;
    u32[word + MODE] = key.mode;
    u32[word + LOCKS] = 0;
    this.#i32[word + HANDLE_TYPE] = key.handleType;
    u32[word + HANDLE_SIZE] = key.handleSize;
    const handle = INODE_TABLE_OFFSET + nodeid * INODE_SLOT.SIZE + INODE_SLOT.HANDLE;
    for (let i = 0; i < key.handleSize; i++) this.#u8[handle + i] = key.handle[i]!;
    if (u32[USED]! >= 1 << u32[HASH_BITS]!) this.#growHash();
    const bucket = this.#bucket(key.inoLo, key.inoHi, key.devLo, u32[HASH_BITS]!);
    u32[word + NEXT] = u32[bucket]!;
    u32[word + FLAGS] = INODE_FLAG_HASHED;
    u32[bucket] = nodeid;
    Atomics.add(u32, USED, 1);
    if (fd >= 0) Atomics.add(u32, FDS, 1);
    // Last: from here on acquire() succeeds, and what it guards is complete.
    Atomics.store(u32, word + REFERENCES, 1);
  }

  #unhash(nodeid: number): void {
    const u32 = this.#u32;
    const word = this.#word(nodeid);
    if ((u32[word + FLAGS]! & INODE_FLAG_HASHED) === 0) return;
    u32[word + FLAGS] = 0;
    let at = this.#bucket(
      u32[word + INO_LO]!,
      u32[word + INO_HI]!,
      u32[word + DEV_LO]!,
      u32[HASH_BITS]!,
    );
    while (u32[at] !== nodeid) {
      assert(u32[at] !== 0, "a hashed inode is in its chain");
      at = this.#word(u32[at]!) + NEXT;
    }
    u32[at] = u32[word + NEXT]!;
  }

  /** Doubles the hash in place: with the top bits of the product as the bucket, chain b becomes chains 2b and 2b+1. */
  #growHash(): void {
    const u32 = this.#u32;
    const bits = u32[HASH_BITS]!;
    if (1 << bits >= INODE_COUNT_MAX) return;
    u32[HASH_BITS] = bits + 1;
    for (let bucket = (1 << bits) - 1; bucket >= 0; bucket--) {
      let slot = u32[HASH + bucket]!;
      // From the top down: the targets 2b, 2b+1 have been emptied already, or are b = 0 itself.
      u32[HASH + bucket] = 0;
      while (slot !== 0) {
        const word = this.#word(slot);
        const next = u32[word + NEXT]!;
        const target = this.#bucket(
          u32[word + INO_LO]!,
          u32[word + INO_HI]!,
          u32[word + DEV_LO]!,
          bits + 1,
        );
        u32[word + NEXT] = u32[target]!;
        u32[target] = slot;
        slot = next;
      }
    }
  }

  #free(nodeid: number): void {
    const word = this.#word(nodeid);
    const fd = this.#i32[word + FD]!;
    const firstLock = this.#u32[word + LOCKS]!;
    if (firstLock !== 0) this.#end.releaseLocks(firstLock);
    const version = Atomics.exchange(this.#u32, word + VERSION_SLOT, 0);
    if (version !== 0) this.#end.releaseVersion(version);
    this.#i32[word + FD] = -1;
    this.#u32[word + HANDLE_SIZE] = 0;
    this.#mutex.lock();
    Atomics.sub(this.#u32, USED, 1);
    if (fd >= 0) Atomics.sub(this.#u32, FDS, 1);
    if (nodeid !== FUSE_ROOT_ID) {
      this.#u32[word + NEXT] = this.#u32[FREE]!;
      this.#u32[FREE] = nodeid;
    }
    this.#mutex.unlock();
    if (fd >= 0) libc.close(fd);
  }
}
