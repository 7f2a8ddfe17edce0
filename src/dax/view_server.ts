/**
 * Answers the kernel's requests of the private file system of `views.ts`. Data never comes here: the kernel reads, writes and
 * maps the files itself (FUSE passthrough).
 *
 * @module
 */

import { ARCHITECTURE } from "../sys/architecture.ts";
import {
  EACCES,
  EAGAIN,
  EINTR,
  EIO,
  ENFILE,
  ENODEV,
  ENOENT,
  ENOSYS,
  EPERM,
  type Status,
} from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import {
  ATTR,
  ATTR_OUT,
  BACKING_MAP,
  BATCH_FORGET_IN,
  ENTRY_OUT,
  FOPEN_NOFLUSH,
  FOPEN_PASSTHROUGH,
  FORGET_ONE,
  FUSE2_PASSTHROUGH,
  FUSE_DEV_IOC_BACKING_CLOSE,
  FUSE_DEV_IOC_BACKING_OPEN,
  FUSE_INIT_EXT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_ROOT_ID,
  IN_HEADER,
  INIT_IN,
  INIT_OUT,
  Opcode,
  OPEN_IN,
  OPEN_OUT,
  OUT_HEADER,
  RELEASE_IN,
  STATFS_OUT,
} from "../wire/fuse.ts";
import { F_GETFL } from "../wire/isolation.ts";
import { O_ACCMODE, O_PATH, O_RDWR, S_IFDIR, S_IFREG } from "../wire/linux.ts";
import { VIEW_SIZE } from "./views.ts";

/** The kernel wants 8 KiB and max_write for reading (fuse.h: FUSE_MIN_READ_BUFFER). */
const MAX_WRITE = 4096;
const REQUEST_SIZE = 65536;
const REPLY = REQUEST_SIZE;
const BODY = REPLY + OUT_HEADER.SIZE;
const BACKING = REPLY + 4096;
const MEMORY_SIZE = BACKING + BACKING_MAP.SIZE;
/**
 * fuse.h: fuse_init_out.max_stack_depth: files of file systems that are stacked on others at most once (overlayfs) can be lent. The kernel
 * allows two levels in all.
 */
const STACK_DEPTH = 2;
/** Files that have been looked up and not been opened yet: each thread of the client has one at a time. */
const FILES_MAX = 1024;
const PAGE_SIZE = 4096;
const A_DAY = 86_400;
/** The reply has been, or need not be, sent. */
const NO_REPLY = 1;
const MODE_ROOT = S_IFDIR | 0o500;
const MODE_VIEW = S_IFREG | 0o600;

/** The server of one private file system. */
export class ViewServer {
  readonly #fuseFd: number;
  readonly #memory = NativeMemory.allocate(MEMORY_SIZE);
  /** The descriptor that each name meant when it was looked up. A node is used for one opening only, so that it stays one file. */
  readonly #files = new Map<number, number>();
  #nextNode = FUSE_ROOT_ID + 1;

  readonly #clientPidFd: number | null;

  /** `fuseFd` is /dev/fuse, opened to be read without waiting; `clientPidFd` names the process whose descriptors are viewed, null is this one. */
  constructor(fuseFd: number, clientPidFd: number | null) {
    this.#fuseFd = fuseFd;
    this.#clientPidFd = clientPidFd;
  }

  /** Answers everything that is there. False when the file system has gone. */
  serve(): boolean {
    for (;;) {
      const size = status(libc.read(this.#fuseFd, this.#memory.pointerAt(0), REQUEST_SIZE));
      if (size === -EAGAIN) return true;
      // ENOENT: the request was taken back before it was read.
      if (size === -EINTR || size === -ENOENT) continue;
      if (size === -ENODEV || size < IN_HEADER.SIZE) return false;
      this.#answer();
    }
  }

  #answer(): void {
    const { view, u8 } = this.#memory;
    u8.fill(0, REPLY, BACKING);
    const opcode = view.getUint32(IN_HEADER.OPCODE, true);
    const nodeid = this.#memory.u64(IN_HEADER.NODEID);
    const result = this.#dispatch(opcode, nodeid);
    if (result === NO_REPLY) return;
    const size = OUT_HEADER.SIZE + (result < 0 ? 0 : bodySize(opcode));
    view.setUint32(REPLY + OUT_HEADER.LEN, size, true);
    view.setInt32(REPLY + OUT_HEADER.ERROR, result, true);
    u8.copyWithin(REPLY + OUT_HEADER.UNIQUE, IN_HEADER.UNIQUE, IN_HEADER.UNIQUE + 8);
    libc.write(this.#fuseFd, this.#memory.pointerAt(REPLY), size);
  }

  #dispatch(opcode: number, nodeid: number): Status {
    switch (opcode) {
      case Opcode.INIT:
        return this.#init();
      case Opcode.LOOKUP:
        return this.#lookup();
      case Opcode.FORGET:
        this.#files.delete(nodeid);
        return NO_REPLY;
      case Opcode.BATCH_FORGET:
        this.#batchForget();
        return NO_REPLY;
      case Opcode.INTERRUPT:
        return NO_REPLY;
      case Opcode.GETATTR:
        this.#memory.setU64(BODY + ATTR_OUT.ATTR_VALID, A_DAY);
        this.#putAttr(BODY + ATTR_OUT.ATTR, nodeid);
        return 0;
      case Opcode.OPEN:
        return this.#open(nodeid);
      case Opcode.RELEASE:
        return this.#release();
      case Opcode.STATFS:
        this.#memory.view.setUint32(BODY + STATFS_OUT.BSIZE, PAGE_SIZE, true);
        this.#memory.view.setUint32(BODY + STATFS_OUT.FRSIZE, PAGE_SIZE, true);
        return 0;
      case Opcode.DESTROY:
        return 0;
      case Opcode.SETATTR:
      case Opcode.FALLOCATE:
        // A monitor that wants to resize what it maps must not get at the file.
        return -EPERM;
      default:
        return -ENOSYS;
    }
  }

  #batchForget(): void {
    const count = this.#memory.view.getUint32(IN_HEADER.SIZE + BATCH_FORGET_IN.COUNT, true);
    const first = IN_HEADER.SIZE + BATCH_FORGET_IN.SIZE + FORGET_ONE.NODEID;
    for (let i = 0; i < count; i++) {
      this.#files.delete(this.#memory.u64(first + i * FORGET_ONE.SIZE));
    }
  }

  #init(): Status {
    const { view } = this.#memory;
    const offered2 = view.getUint32(IN_HEADER.SIZE + INIT_IN.FLAGS2, true);
    if ((offered2 & FUSE2_PASSTHROUGH) === 0) return -EIO;
    view.setUint32(BODY + INIT_OUT.MAJOR, FUSE_KERNEL_VERSION, true);
    view.setUint32(BODY + INIT_OUT.MINOR, FUSE_KERNEL_MINOR_VERSION, true);
    view.setUint32(BODY + INIT_OUT.FLAGS, FUSE_INIT_EXT, true);
    view.setUint32(BODY + INIT_OUT.FLAGS2, FUSE2_PASSTHROUGH, true);
    view.setUint32(BODY + INIT_OUT.MAX_WRITE, MAX_WRITE, true);
    view.setUint32(BODY + INIT_OUT.MAX_STACK_DEPTH, STACK_DEPTH, true);
    return 0;
  }

  #lookup(): Status {
    const { u8 } = this.#memory;
    let fd = 0;
    let at: number = IN_HEADER.SIZE;
    for (; u8[at] !== 0; at++) {
      const digit = u8[at]! - 0x30;
      if (digit < 0 || digit > 9 || fd > 2 ** 27) return -ENOENT;
      fd = fd * 10 + digit;
    }
    if (at === IN_HEADER.SIZE) return -ENOENT;
    if (this.#files.size >= FILES_MAX) return -ENFILE;
    const nodeid = this.#nextNode++;
    this.#files.set(nodeid, fd);
    this.#memory.setU64(BODY + ENTRY_OUT.NODEID, nodeid);
    // The name is asked for each time: the descriptor will be another file. The size never changes.
    this.#memory.setU64(BODY + ENTRY_OUT.ATTR_VALID, A_DAY);
    this.#putAttr(BODY + ENTRY_OUT.ATTR, nodeid);
    return 0;
  }

  #putAttr(at: number, nodeid: number): void {
    const { view } = this.#memory;
    const isRoot = nodeid === FUSE_ROOT_ID;
    this.#memory.setU64(at + ATTR.INO, nodeid);
    this.#memory.setU64(at + ATTR.SIZE_, isRoot ? 0 : VIEW_SIZE);
    view.setUint32(at + ATTR.MODE, isRoot ? MODE_ROOT : MODE_VIEW, true);
    view.setUint32(at + ATTR.NLINK, 1, true);
    view.setUint32(at + ATTR.BLKSIZE, PAGE_SIZE, true);
  }

  #open(nodeid: number): Status {
    const { view } = this.#memory;
    const fd = this.#files.get(nodeid);
    if (fd === undefined) return -ENOENT;
    this.#files.delete(nodeid);
    const wanted = view.getUint32(IN_HEADER.SIZE + OPEN_IN.FLAGS, true);
    const own = this.#ownFd(fd);
    if (own < 0) return own;
    // The kernel opens the file anew, with this process's rights, which the client may not have.
    if (!allows(status(libc.fcntl_int(own, F_GETFL, 0)), wanted)) {
      if (this.#clientPidFd !== null) libc.close(own);
      return -EACCES;
    }
    view.setInt32(BACKING + BACKING_MAP.FD, own, true);
    view.setUint32(BACKING + BACKING_MAP.FLAGS, 0, true);
    this.#memory.setU64(BACKING + BACKING_MAP.PADDING, 0);
    const id = this.#ioctl(FUSE_DEV_IOC_BACKING_OPEN);
    if (this.#clientPidFd !== null) libc.close(own);
    if (id < 0) return id;
    this.#memory.setU64(BODY + OPEN_OUT.FH, id);
    view.setUint32(BODY + OPEN_OUT.OPEN_FLAGS, FOPEN_PASSTHROUGH | FOPEN_NOFLUSH, true);
    view.setInt32(BODY + OPEN_OUT.BACKING_ID, id, true);
    return 0;
  }

  /** The client's descriptor as one of this process. */
  #ownFd(fd: number): number {
    if (this.#clientPidFd === null) return fd;
    return status(libc.pidfd_getfd(ARCHITECTURE.syscalls.pidfd_getfd, this.#clientPidFd, fd, 0));
  }

  #release(): Status {
    const { view } = this.#memory;
    const id = view.getUint32(IN_HEADER.SIZE + RELEASE_IN.FH, true);
    view.setUint32(BACKING, id, true);
    this.#ioctl(FUSE_DEV_IOC_BACKING_CLOSE);
    return 0;
  }

  #ioctl(request: number): number {
    return status(libc.ioctl(this.#fuseFd, request, this.#memory.pointerAt(BACKING)));
  }
}

/** Whether a descriptor with these flags could be read and written as flags of open(2) want it. */
function allows(flags: Status, wanted: number): boolean {
  if (flags < 0 || (flags & O_PATH) !== 0) return false;
  const has = flags & O_ACCMODE;
  return has === O_RDWR || has === (wanted & O_ACCMODE);
}

/** Bytes of a successful reply's body. */
function bodySize(opcode: number): number {
  switch (opcode) {
    case Opcode.INIT:
      return INIT_OUT.SIZE;
    case Opcode.LOOKUP:
      return ENTRY_OUT.SIZE;
    case Opcode.GETATTR:
      return ATTR_OUT.SIZE;
    case Opcode.OPEN:
      return OPEN_OUT.SIZE;
    case Opcode.STATFS:
      return STATFS_OUT.SIZE;
    default:
      return 0;
  }
}
