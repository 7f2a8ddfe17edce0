/**
 * The bridge between /dev/fuse and a daemon's rings: the kernel's requests are read straight into the guest's memory,
 * and the daemon's replies written from there. No byte of them is copied here (but for READDIRPLUS with versions, see `versioned_replies.ts`).
 *
 * Requests of the kernel that find no free slot stay in the kernel. Each request that was read is answered, whatever the daemon does:
 * with its reply if that is one, with EIO if not, with ENOTCONN if the daemon is gone.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { EAGAIN, EINTR, EIO, ENODEV, ENOENT, errnoName, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  BATCH_FORGET_IN,
  ENTRY_OUT,
  FILE_LOCK,
  FORGET_IN,
  FORGET_ONE,
  FUSE_ROOT_ID,
  IN_HEADER,
  INTERRUPT_IN,
  LK_IN,
  Opcode,
  OUT_HEADER,
  WRITE_IN,
} from "../wire/fuse.ts";
import { F_UNLCK } from "../wire/linux.ts";
import type { Driver } from "../guest/driver/driver.ts";
import { SLOT, type Slot } from "../guest/driver/slot.ts";
import { ENTRYVER_OUT } from "../wire/shared_versions.ts";
import { Asked } from "./asked.ts";
import { adjustReply, adjustRequest, hasVersions, type OfferedFlags } from "./init.ts";
import type { KernelCaches } from "./kernel_caches.ts";
import { bodySize } from "./reply_size.ts";
import { versionSize } from "./versioned_replies.ts";

/** Bytes of data in one READ or WRITE: the kernel's own bound (256 pages). */
export const DATA_SIZE_MAX: number = 1024 * 1024;
/** Room for the headers and arguments around the data; the kernel wants more than 8 KiB (fuse.h: FUSE_MIN_READ_BUFFER). */
const AROUND_SIZE = 16384;
/** Bytes of a slot for a request and for a reply. Untouched pages cost nothing. */
export const BRIDGE_SLOT_SIZE: number = DATA_SIZE_MAX + AROUND_SIZE;
/** The kernel's largest errno in a reply. */
const ERRNO_END = 512;

/** What is known of the request in a slot: our own copy, since the daemon can write to the slot. */
class Pending {
  opcode = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  /** The kernel has been answered already. */
  answered = false;
  readonly asked = new Asked();
}

/** One mount's traffic. Used by one thread. */
export class Bridge {
  readonly #driver: Driver;
  readonly #fuseFd: number;
  readonly #warn: (message: string) => void;
  readonly #versions: (() => KernelCaches) | null;
  /** Once the daemon has agreed to say versions. */
  #caches: KernelCaches | null = null;
  readonly #pending = new Map<Slot, Pending>();
  #offered: OfferedFlags = { flags: 0, flags2: 0 };
  /** Whether the kernel may have requests that were not read yet. */
  #readable = true;
  #unmounted = false;
  #saidNonsense = false;

  /** `versions` is asked once the daemon has agreed to say versions (`wire/shared_versions.ts`); null: it is not asked to. */
  constructor(
    driver: Driver,
    fuseFd: number,
    warn: (message: string) => void,
    versions: (() => KernelCaches) | null = null,
  ) {
    this.#driver = driver;
    this.#fuseFd = fuseFd;
    this.#warn = warn;
    this.#versions = versions;
    driver.watch(fuseFd, () => {
      this.#readable = true;
    });
  }

  /** Works until the file system is unmounted (true) or the daemon is gone (false; every request has been answered by then). */
  run(): boolean {
    const driver = this.#driver;
    for (;;) {
      const took = this.#takeRequests();
      driver.publish();
      const reaped = driver.reap();
      if (this.#unmounted) return true;
      if (driver.dead !== null) return false;
      const pause = this.#caches === null ? -1 : Math.ceil(this.#caches.work());
      if (!took && !reaped && pause !== 0) driver.sleep(pause);
    }
  }

  /** Ends the session at the daemon, as a guest does when it unmounts. */
  destroy(): void {
    const slot = this.#driver.acquire();
    if (slot === null || this.#driver.dead !== null) return;
    this.#writeHeader(slot, Opcode.DESTROY, IN_HEADER.SIZE);
    // The kernel's requests are all answered, so any number will do; but the C daemon aborts at 0.
    slot.bytes.view.setUint32(slot.request + IN_HEADER.UNIQUE, 2, true);
    slot.addReadable(slot.request, IN_HEADER.SIZE);
    slot.addWritable(slot.reply, OUT_HEADER.SIZE);
    this.#driver.add(slot);
    this.#driver.publish();
    this.#driver.wait(slot, DESTROY_MS);
  }

  /** Reads what the kernel has, as far as there are slots. Returns whether there was anything. */
  #takeRequests(): boolean {
    let some = false;
    while (this.#readable && !this.#unmounted) {
      const slot = this.#driver.acquire();
      if (slot === null) return some;
      const size = status(
        libc.read(this.#fuseFd, slot.bytes.pointerAt(slot.request), slot.requestSizeMax),
      );
      if (size > 0) {
        this.#take(slot, size);
        some = true;
        continue;
      }
      this.#driver.release(slot);
      if (size === -EAGAIN) this.#readable = false;
      else if (size === -ENODEV || size === 0) this.#unmounted = true;
      else if (size !== -EINTR && size !== -ENOENT) {
        this.#warn(`Cannot read /dev/fuse: ${errnoName(size)}`);
        this.#unmounted = true;
      }
    }
    return some;
  }

  #take(slot: Slot, size: number): void {
    const { view } = slot.bytes;
    const opcode = view.getUint32(slot.request + IN_HEADER.OPCODE, true);
    switch (opcode) {
      case Opcode.FORGET:
        this.#forget(
          slot,
          slot.request + IN_HEADER.NODEID,
          slot.request + IN_HEADER.SIZE + FORGET_IN.NLOOKUP,
        );
        return this.#driver.release(slot);
      case Opcode.BATCH_FORGET:
        this.#forgetAll(slot);
        return this.#driver.release(slot);
      case Opcode.INTERRUPT:
        this.#interrupt(slot);
        return this.#driver.release(slot);
    }
    const pending = this.#pendingOf(slot);
    pending.opcode = opcode;
    pending.uniqueLow = view.getUint32(slot.request + IN_HEADER.UNIQUE, true);
    pending.uniqueHigh = view.getUint32(slot.request + IN_HEADER.UNIQUE + 4, true);
    pending.answered = false;
    const args = slot.request + IN_HEADER.SIZE;
    if (opcode === Opcode.INIT) {
      const versions = this.#versions !== null;
      this.#offered = adjustRequest(slot.bytes, args, size - IN_HEADER.SIZE, versions);
    }
    const caches = this.#caches;
    caches?.ask(pending.asked, slot.bytes, slot.request, size - IN_HEADER.SIZE);
    // As Linux's virtio-fs driver lays it out; the C daemon relies on some of it (virtio 1.3, 5.11.6).
    slot.addReadable(slot.request, IN_HEADER.SIZE);
    const argsSize = opcode === Opcode.WRITE ? WRITE_IN.SIZE : size - IN_HEADER.SIZE;
    slot.addReadable(args, argsSize);
    slot.addReadable(args + argsSize, size - IN_HEADER.SIZE - argsSize);
    slot.addWritable(slot.reply, OUT_HEADER.SIZE);
    const body = bodySize(opcode, (field) => view.getUint32(args + field, true)) +
      (caches === null ? 0 : versionSize(opcode));
    slot.addWritable(
      slot.reply + OUT_HEADER.SIZE,
      Math.min(body, slot.replySizeMax - OUT_HEADER.SIZE),
    );
    slot.onUsed = this.#answer;
    this.#driver.add(slot);
  }

  /** A slot has come back: its reply, or the lack of one, goes to the kernel. */
  readonly #answer = (slot: Slot): void => {
    const pending = this.#pendingOf(slot);
    const outcome = this.#check(slot, pending);
    if (pending.answered) {
      // A lock that nobody waits for any more: it must not stay.
      if (outcome === 0 && pending.opcode === Opcode.SETLKW) return this.#unlock(slot);
      return this.#driver.release(slot);
    }
    const caches = this.#caches;
    if (outcome < 0) {
      caches?.end(pending.asked, false);
      this.#refuse(slot, pending, outcome);
      caches?.told(pending.asked, false);
    } else if (pending.opcode === Opcode.INIT) return this.#answerInit(slot, pending);
    else if (caches !== null) this.#answerVersioned(slot, pending, caches);
    else this.#pass(slot, pending, slot.usedSize);
    this.#driver.release(slot);
  };

  #answerVersioned(slot: Slot, pending: Pending, caches: KernelCaches): void {
    const size = caches.answer(pending.asked, slot.bytes, slot.reply, slot.usedSize);
    if (size < 0) this.#refuse(slot, pending, this.#nonsense());
    else this.#pass(slot, pending, size);
    const error = slot.bytes.view.getInt32(slot.reply + OUT_HEADER.ERROR, true);
    caches.told(pending.asked, error === 0);
  }

  #answerInit(slot: Slot, pending: Pending): void {
    const body = slot.reply + OUT_HEADER.SIZE;
    const size = slot.usedSize - OUT_HEADER.SIZE;
    const versioned = hasVersions(slot.bytes, body, size, this.#offered);
    adjustReply(slot.bytes, body, size, this.#offered, DATA_SIZE_MAX);
    const finish = () => {
      this.#pass(slot, pending, slot.usedSize);
      this.#driver.release(slot);
    };
    if (versioned && this.#versions !== null) this.#beginVersions(this.#versions(), finish);
    else finish();
  }

  /** Asks for the root's version, which no request of the kernel brings along, before the kernel sends any. */
  #beginVersions(caches: KernelCaches, finish: () => void): void {
    this.#caches = caches;
    const slot = this.#driver.acquire();
    assert(slot !== null, "the kernel sends nothing beside INIT");
    const args = slot.request + IN_HEADER.SIZE;
    this.#writeHeader(slot, Opcode.LOOKUP, IN_HEADER.SIZE + 2);
    // No number of the kernel's is odd.
    slot.bytes.view.setUint32(slot.request + IN_HEADER.UNIQUE, 1, true);
    slot.bytes.setU64(slot.request + IN_HEADER.NODEID, FUSE_ROOT_ID);
    slot.bytes.setCString(args, ".");
    slot.addReadable(slot.request, IN_HEADER.SIZE);
    slot.addReadable(args, 2);
    slot.addWritable(slot.reply, OUT_HEADER.SIZE);
    slot.addWritable(slot.reply + OUT_HEADER.SIZE, ENTRY_OUT.SIZE + ENTRYVER_OUT.SIZE);
    slot.onUsed = () => {
      caches.learnRoot(slot.bytes, slot.reply, slot.failure < 0 ? 0 : slot.usedSize);
      this.#driver.release(slot);
      finish();
    };
    this.#driver.add(slot);
    this.#driver.publish();
  }

  /** Gives the kernel the first `size` bytes of the reply. */
  #pass(slot: Slot, pending: Pending, size: number): void {
    const sent = this.#write(slot, size);
    // The kernel holds replies to rules of its own.
    if (sent < 0 && sent !== -ENOENT) this.#refuse(slot, pending, -EIO);
  }

  /** 0 if what came back is a reply to the slot's request (errors among them), else what the kernel is to be told. */
  #check(slot: Slot, pending: Pending): Status {
    if (slot.failure < 0) return slot.failure;
    const { view } = slot.bytes;
    const length = view.getUint32(slot.reply + OUT_HEADER.LEN, true);
    const error = view.getInt32(slot.reply + OUT_HEADER.ERROR, true);
    const ours = view.getUint32(slot.reply + OUT_HEADER.UNIQUE, true) === pending.uniqueLow &&
      view.getUint32(slot.reply + OUT_HEADER.UNIQUE + 4, true) === pending.uniqueHigh;
    const sound = length === slot.usedSize && length >= OUT_HEADER.SIZE &&
      length <= slot.writableSize && ours && error <= 0 && error > -ERRNO_END;
    return sound ? 0 : this.#nonsense();
  }

  #nonsense(): Status {
    if (!this.#saidNonsense) {
      this.#saidNonsense = true;
      this.#warn("The daemon's reply is none to the request; answered with EIO");
    }
    return -EIO;
  }

  #refuse(slot: Slot, pending: Pending, error: Status): void {
    const { view } = slot.bytes;
    view.setUint32(slot.reply + OUT_HEADER.LEN, OUT_HEADER.SIZE, true);
    view.setInt32(slot.reply + OUT_HEADER.ERROR, error, true);
    view.setUint32(slot.reply + OUT_HEADER.UNIQUE, pending.uniqueLow, true);
    view.setUint32(slot.reply + OUT_HEADER.UNIQUE + 4, pending.uniqueHigh, true);
    this.#write(slot, OUT_HEADER.SIZE);
  }

  #write(slot: Slot, size: number): Status {
    return status(libc.write(this.#fuseFd, slot.bytes.pointerAt(slot.reply), size));
  }

  /** Single FORGETs, as Linux's driver sends them: not every daemon takes BATCH_FORGET. */
  #forgetAll(slot: Slot): void {
    const args = slot.request + IN_HEADER.SIZE;
    const count = slot.bytes.view.getUint32(args + BATCH_FORGET_IN.COUNT, true);
    for (let i = 0; i < count; i++) {
      const one = args + BATCH_FORGET_IN.SIZE + i * FORGET_ONE.SIZE;
      this.#forget(slot, one + FORGET_ONE.NODEID, one + FORGET_ONE.NLOOKUP);
    }
  }

  #forget(from: Slot, nodeidAt: number, countAt: number): void {
    let slot = this.#driver.acquireHiprio();
    while (slot === null) {
      this.#driver.publish();
      if (!this.#driver.reap()) this.#driver.sleep(-1);
      slot = this.#driver.acquireHiprio();
    }
    const size = IN_HEADER.SIZE + FORGET_IN.SIZE;
    this.#writeHeader(slot, Opcode.FORGET, size);
    copyU64(from, nodeidAt, slot, slot.request + IN_HEADER.NODEID);
    copyU64(from, countAt, slot, slot.request + IN_HEADER.SIZE + FORGET_IN.NLOOKUP);
    slot.addReadable(slot.request, size);
    slot.onUsed = this.#release;
    this.#driver.add(slot);
    this.#caches?.forget(from.bytes, nodeidAt, countAt);
  }

  readonly #release = (slot: Slot): void => this.#driver.release(slot);

  /**
   * A process that waits for a lock is to be killed. No daemon can be interrupted on a ring, so the kernel is told EINTR here, and the
   * lock, should it be taken after all, is given up again. Other requests end by themselves.
   */
  #interrupt(from: Slot): void {
    const { view } = from.bytes;
    const at = from.request + IN_HEADER.SIZE + INTERRUPT_IN.UNIQUE;
    const low = view.getUint32(at, true);
    const high = view.getUint32(at + 4, true);
    for (const [slot, pending] of this.#pending) {
      if (slot.state !== SLOT.SENT || pending.answered) continue;
      if (pending.opcode !== Opcode.SETLKW) continue;
      if (pending.uniqueLow !== low || pending.uniqueHigh !== high) continue;
      pending.answered = true;
      // The slot's own memory is the daemon's; the interrupt's is ours.
      this.#refuse(from, pending, -EINTR);
    }
  }

  /** Sends the slot's SETLKW again as an F_UNLCK. */
  #unlock(slot: Slot): void {
    const { view } = slot.bytes;
    const args = slot.request + IN_HEADER.SIZE;
    view.setUint32(slot.request + IN_HEADER.OPCODE, Opcode.SETLK, true);
    view.setUint32(args + LK_IN.LK + FILE_LOCK.TYPE, F_UNLCK, true);
    slot.clear();
    slot.state = SLOT.FILLING;
    slot.addReadable(slot.request, IN_HEADER.SIZE);
    slot.addReadable(args, LK_IN.SIZE);
    slot.addWritable(slot.reply, OUT_HEADER.SIZE);
    slot.onUsed = this.#release;
    this.#driver.add(slot);
    this.#driver.publish();
  }

  #writeHeader(slot: Slot, opcode: number, size: number): void {
    const { view, u8 } = slot.bytes;
    u8.fill(0, slot.request, slot.request + IN_HEADER.SIZE);
    view.setUint32(slot.request + IN_HEADER.LEN, size, true);
    view.setUint32(slot.request + IN_HEADER.OPCODE, opcode, true);
  }

  #pendingOf(slot: Slot): Pending {
    let pending = this.#pending.get(slot);
    if (pending === undefined) {
      pending = new Pending();
      this.#pending.set(slot, pending);
    }
    return pending;
  }
}

/** A daemon that does not answer DESTROY has been asked. */
const DESTROY_MS = 5_000;

function copyU64(source: Slot, from: number, target: Slot, to: number): void {
  for (const half of [0, 4]) {
    target.bytes.view.setUint32(to + half, source.bytes.view.getUint32(from + half, true), true);
  }
}
