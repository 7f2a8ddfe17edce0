/**
 * The data of regular files: READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE; and SYNCFS.
 *
 * File data never enters the JavaScript heap: READ is preadv(2) into the guest's own buffers, WRITE pwritev(2)
 * from them.
 *
 * @module
 */

import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { O_DIRECTORY } from "../sys/architecture.ts";
import {
  EFBIG,
  EINVAL,
  ENOSYS,
  ENXIO,
  EOPNOTSUPP,
  EROFS,
  ESTALE,
  type Status,
} from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { preadv, pwritev } from "../sys/vector_io.ts";
import {
  COPY_FILE_RANGE_IN,
  COPY_FILE_RANGE_OUT,
  FALLOCATE_IN,
  FSYNC_IN,
  FUSE_FSYNC_FDATASYNC,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_WRITE_KILL_SUIDGID,
  FUSE_WRITEBACK_CACHE,
  IN_HEADER,
  LSEEK_IN,
  LSEEK_OUT,
  OUT_HEADER,
  READ_IN,
  WRITE_IN,
  WRITE_OUT,
} from "../wire/fuse.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  O_RDONLY,
  SEEK_DATA,
  SEEK_HOLE,
} from "../wire/linux.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";
import { dropMappedCapabilities } from "./xattrs.ts";

/** Where WRITE's data starts in the request. */
const WRITE_DATA: number = IN_HEADER.SIZE + WRITE_IN.SIZE;
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;
/** What a host answers at an offset that no file of its reaches (they end below 2^53 everywhere); EINVAL if it is negative as an off_t. */
function beyond(offset: number, answer: Status): Status {
  return offset >= 2 ** 63 ? -EINVAL : answer;
}

/** Bytes of one COPY_FILE_RANGE: a copy that the host makes by hand must not hold up the queue; a short answer is allowed. */
const COPY_SIZE_MAX = 128 * 1024 * 1024;
const FALLOCATE_MODES = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

export function read(share: Share, request: Request, reply: Reply): Status {
  const slot = request.lo(READ_IN.FH);
  const offset = request.u64(READ_IN.OFFSET);
  const size = Math.min(request.u32(READ_IN.SIZE_), reply.sizeMax);
  if (offset > OFFSET_MAX) return beyond(offset, 0);
  const fd = share.acquireHandle(slot, request.hi(READ_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const { buffers } = reply;
  let done = 0;
  let result: Status = 0;
  while (done < size) {
    const count = buffers.writable(OUT_HEADER.SIZE + done, size - done);
    const asked = buffers.iovecSize;
    result = preadv(fd, buffers.iovecPointer, count, offset + done);
    if (result <= 0) break;
    done += result;
    if (result < asked) break;
  }
  share.handles.release(slot);
  reply.directSize = done;
  return result < 0 && done === 0 ? result : 0;
}

export function write(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
  const slot = request.lo(WRITE_IN.FH);
  const offset = request.u64(WRITE_IN.OFFSET);
  const size = request.u32(WRITE_IN.SIZE_);
  const { buffers } = request;
  if (offset > OFFSET_MAX) return beyond(offset, -EFBIG);
  if (size > buffers.readableSize - WRITE_DATA) return -EINVAL;
  const fd = share.acquireHandle(slot, request.hi(WRITE_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const kill = (request.u32(WRITE_IN.WRITE_FLAGS) & FUSE_WRITE_KILL_SUIDGID) !== 0;
  if (kill) share.credentials.dropFsetid();
  let done = 0;
  let result: Status = 0;
  while (done < size) {
    const count = buffers.readable(WRITE_DATA + done, size - done);
    const asked = buffers.iovecSize;
    result = pwritev(fd, buffers.iovecPointer, count, offset + done);
    if (result <= 0) break;
    done += result;
    if (result < asked) break;
  }
  if (kill) share.credentials.restoreFsetid();
  if (done > 0) dropMappedCapabilities(share, fd);
  share.handles.release(slot);
  reply.setU32(WRITE_OUT.SIZE_, done);
  reply.setU32(WRITE_OUT.SIZE_ + 4, 0);
  return result < 0 && done === 0 ? result : 0;
}

export function fsync(share: Share, request: Request): Status {
  const slot = request.lo(FSYNC_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(FSYNC_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const dataOnly = (request.u32(FSYNC_IN.FSYNC_FLAGS) & FUSE_FSYNC_FDATASYNC) !== 0;
  const result = status(dataOnly ? libc.fdatasync(fd) : libc.fsync(fd));
  share.handles.release(slot);
  return result;
}

export function fallocate(share: Share, request: Request): Status {
  if (share.config.readonly) return -EROFS;
  const mode = request.u32(FALLOCATE_IN.MODE);
  if ((mode & ~FALLOCATE_MODES) !== 0) return -EOPNOTSUPP;
  const offset = request.u64(FALLOCATE_IN.OFFSET);
  const length = request.u64(FALLOCATE_IN.LENGTH);
  if (offset > OFFSET_MAX) return beyond(offset, -EFBIG);
  if (length > OFFSET_MAX) return beyond(length, -EFBIG);
  const slot = request.lo(FALLOCATE_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(FALLOCATE_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  // HANDLE_KILLPRIV_V2 leaves clearing set-uid bits to us, and FALLOCATE has no flag that says when.
  const kill = request.uid !== 0 && share.session.has(FUSE_HANDLE_KILLPRIV_V2);
  if (kill) share.credentials.dropFsetid();
  const result = status(libc.fallocate(fd, mode, BigInt(offset), BigInt(length)));
  if (kill) share.credentials.restoreFsetid();
  if (result === 0) dropMappedCapabilities(share, fd);
  share.handles.release(slot);
  return result;
}

export function lseek(share: Share, request: Request, reply: Reply): Status {
  // With write-back the host does not have the data that the guest holds back, and would call it a hole: cp would copy
  // zeros. Linux does not write back before it asks. ENOSYS makes it look at the size alone: all data, no holes.
  if (share.session.has(FUSE_WRITEBACK_CACHE)) return -ENOSYS;
  const whence = request.u32(LSEEK_IN.WHENCE);
  // Everything else the guest computes by itself.
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
  const offset = request.u64(LSEEK_IN.OFFSET);
  if (offset > OFFSET_MAX) return beyond(offset, -ENXIO);
  const slot = request.lo(LSEEK_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(LSEEK_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const found = Number(libc.lseek(fd, BigInt(offset), whence));
  const result = found < 0 ? status(-1) : 0;
  share.handles.release(slot);
  if (result === 0) reply.setU64(LSEEK_OUT.OFFSET, found);
  return result;
}

/** Copies inside the host; returns the bytes copied, or an errno. */
function copy(share: Share, request: Request): Status {
  if (share.config.readonly) return -EROFS;
  if (request.u64(COPY_FILE_RANGE_IN.FLAGS) !== 0) return -EINVAL;
  const offsetIn = request.u64(COPY_FILE_RANGE_IN.OFF_IN);
  const offsetOut = request.u64(COPY_FILE_RANGE_IN.OFF_OUT);
  const length = request.u64(COPY_FILE_RANGE_IN.LEN);
  if (offsetIn > OFFSET_MAX || offsetOut > OFFSET_MAX) return -EINVAL;
  const slotIn = request.lo(COPY_FILE_RANGE_IN.FH_IN);
  const slotOut = request.lo(COPY_FILE_RANGE_IN.FH_OUT);
  const fdIn = share.acquireHandle(slotIn, request.hi(COPY_FILE_RANGE_IN.FH_IN), request.nodeid);
  if (fdIn < 0) return fdIn;
  const nodeidOut = request.u64(COPY_FILE_RANGE_IN.NODEID_OUT);
  const fdOut = share.acquireHandle(slotOut, request.hi(COPY_FILE_RANGE_IN.FH_OUT), nodeidOut);
  let result: Status = fdOut;
  if (fdOut >= 0) {
    const { memory } = share.scratch;
    memory.setU64(SCRATCH.OFFSETS, offsetIn);
    memory.setU64(SCRATCH.OFFSETS + 8, offsetOut);
    result = status(
      libc.copy_file_range(
        fdIn,
        memory.pointerAt(SCRATCH.OFFSETS),
        fdOut,
        memory.pointerAt(SCRATCH.OFFSETS + 8),
        Math.min(length, COPY_SIZE_MAX),
        0,
      ),
    );
    if (result > 0) dropMappedCapabilities(share, fdOut);
    share.handles.release(slotOut);
  }
  share.handles.release(slotIn);
  return result;
}

export function copyFileRange(share: Share, request: Request, reply: Reply): Status {
  const result = copy(share, request);
  if (result < 0) return result;
  reply.setU32(WRITE_OUT.SIZE_, result);
  reply.setU32(WRITE_OUT.SIZE_ + 4, 0);
  return 0;
}

export function copyFileRange64(share: Share, request: Request, reply: Reply): Status {
  const result = copy(share, request);
  if (result < 0) return result;
  reply.setU64(COPY_FILE_RANGE_OUT.BYTES_COPIED, result);
  return 0;
}

export function syncfs(share: Share, request: Request): Status {
  const { nodeid } = request;
  if (!share.inodes.acquire(nodeid)) return -ESTALE;
  // syncfs(2) wants a descriptor opened for reading.
  const fd = share.reopen(nodeid, O_RDONLY | O_DIRECTORY);
  share.inodes.release(nodeid);
  if (fd < 0) return fd;
  const result = status(libc.syncfs(fd));
  libc.close(fd);
  return result;
}
