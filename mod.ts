/**
 * Both halves of virtio-fs as a library. The host half is a vhost-user server: {@linkcode serve} shows a host directory, or a file system written in
 * TypeScript, to the Linux guest of any virtual machine monitor that speaks vhost-user (QEMU, Cloud
 * Hypervisor, User Mode Linux).
 *
 * A file system is a class that extends {@linkcode FileSystem}: one method per FUSE request, with the request and the
 * reply as byte structs, their fields named as in linux/fuse.h ({@linkcode fuse}). It lives in a module of its
 * own, which {@linkcode serve} loads into a Worker. Linux on x86-64 or aarch64, with the permissions
 * that `deno run -A` gives (FFI above all). `examples/memory_fs.ts` is a whole one, `examples/serve_memory_fs.ts`
 * serves it.
 *
 * The guest half is {@linkcode Guest}: the files behind any virtio-fs daemon's socket, in the shape of Deno's file API, without a virtual
 * machine (`examples/copy_out.ts`).
 *
 * @example The smallest file system: one empty, unchangeable directory
 * ```ts
 * import { type Attributes, errno, FileSystem, fuse, linux } from "./mod.ts";
 * import type { Reply, Request, Status } from "./mod.ts";
 *
 * const ROOT: Attributes = { ino: fuse.FUSE_ROOT_ID, size: 0, mode: linux.S_IFDIR | 0o555 };
 *
 * class EmptyFs extends FileSystem {
 *   override lookup(): Status {
 *     return -errno.ENOENT;
 *   }
 *
 *   override getattr(_request: Request, reply: Reply): Status {
 *     reply.putAttributes(ROOT);
 *     return 0;
 *   }
 *
 *   override readdir(request: Request, reply: Reply): Status {
 *     // The cookie of the last entry that the guest has seen: this directory has two.
 *     const seen = request.u64(fuse.READ_IN.OFFSET);
 *     const sizeMax = request.u32(fuse.READ_IN.SIZE_);
 *     if (seen < 1) reply.appendDirent({ ...ROOT, name: ".", cookie: 1 }, sizeMax);
 *     if (seen < 2) reply.appendDirent({ ...ROOT, name: "..", cookie: 2 }, sizeMax);
 *     return 0;
 *   }
 * }
 *
 * // In a module of its own: export default () => new EmptyFs();
 * const fileSystem: FileSystem = new EmptyFs();
 * if (fileSystem.releases !== 0) throw new Error("nothing was locked yet");
 * ```
 *
 * @module
 */

export { errno, fuse, linux, serve } from "./src/library.ts";
export type { PassthroughOptions, ServeOptions, VersionOptions } from "./src/library.ts";
export type { CacheMode, DaxMode, InodeFileHandles } from "./src/config.ts";
export type { Log } from "./src/log.ts";
export { SetupError } from "./src/setup_error.ts";
export { FileSystem, type Negotiation, PENDING } from "./src/fuse/file_system.ts";
export { Request } from "./src/fuse/request.ts";
export { type Attributes, type DirectoryEntry, type NodeEntry, Reply } from "./src/fuse/reply.ts";
export { Session } from "./src/fuse/session.ts";
export type { Status } from "./src/sys/errno.ts";
export { Guest } from "./src/guest/guest.ts";
export type { GuestIdentity, GuestOpenOptions, GuestOptions } from "./src/guest/guest.ts";
export { GuestFile } from "./src/guest/guest_file.ts";
export type { GuestDirEntry, GuestFileInfo } from "./src/guest/file_info.ts";
export { GuestError } from "./src/guest/guest_error.ts";
export { DaemonError } from "./src/guest/daemon_error.ts";
export type { SessionOptions } from "./src/guest/session.ts";
export type { GuestCacheMode } from "./src/guest/vfs/cache_mode.ts";
export type { StatVfs } from "./src/guest/vfs/stat.ts";
export type { OpcodeTraffic } from "./src/guest/client/traffic.ts";
export { IntervalNodes, IntervalTree } from "./src/intervals/interval_tree.ts";
export { RangeAllocator, RangeFile } from "./src/guest/dax/range_allocator.ts";
export type {
  RangeAllocatorOptions,
  RangeCounters,
  RangeInfo,
  RangeMapper,
} from "./src/guest/dax/range_interfaces.ts";
export { DaxView } from "./src/guest/dax/dax_view.ts";
export type { ViewSource } from "./src/guest/dax/dax_view.ts";
export type { GuestDaxCounters } from "./src/guest/dax/dax_window.ts";
export type { GuestDaxMode } from "./src/guest/client/dax_mode.ts";
