/**
 * Mounting and unmounting: /dev/fuse and mount(2).
 *
 * @module
 */

import { EBUSY, EINVAL, EPERM, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { errorText } from "../sys/unix_socket.ts";
import { SetupError } from "../setup_error.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../wire/linux.ts";

/** linux/mount.h */
const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MNT_DETACH = 2;

/** Options of mount(8) that are flags of mount(2). */
const FLAGS: Readonly<Record<string, number>> = {
  ro: MS_RDONLY,
  rw: 0,
  nosuid: MS_NOSUID,
  suid: 0,
  nodev: MS_NODEV,
  dev: 0,
  noexec: 8,
  exec: 0,
  sync: 16,
  async: 0,
  dirsync: 128,
  noatime: 1024,
  atime: 0,
  nodiratime: 2048,
  relatime: 1 << 21,
  strictatime: 1 << 24,
};

const FILE_SYSTEM_TYPE = "fuse.virtiofsd-ts";
const encoder = new TextEncoder();

/** The names that `-o` takes. */
export const MOUNT_OPTIONS: readonly string[] = Object.keys(FLAGS);

/** The flags of mount(2) for a list of options; throws a {@linkcode SetupError} for one that is none. */
export function mountFlags(options: readonly string[]): number {
  let flags = 0;
  for (const name of options) {
    const flag = FLAGS[name];
    if (flag === undefined) {
      throw new SetupError(
        `There is no mount option "${name}"; expected some of ${MOUNT_OPTIONS.join(", ")}`,
      );
    }
    flags |= flag;
  }
  return flags;
}

/** An absolute path of a directory that can be mounted on, or a {@linkcode SetupError}. */
export function mountPointPath(path: string): string {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOTCONN") {
      throw new SetupError(`"${path}" is the mount of a daemon that is gone: umount "${path}"`);
    }
    throw new SetupError(`There is no directory "${path}" to mount on`);
  }
  if (!info.isDirectory) throw new SetupError(`"${path}" is not a directory`);
  return Deno.realPathSync(path);
}

/** Opens /dev/fuse for one mount; reads of it do not wait. */
export function openFuseDevice(): OwnedFd {
  const flags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
  const fd = status(libc.open(cString("/dev/fuse"), flags, 0));
  if (fd < 0) throw new SetupError(`Cannot open /dev/fuse: ${errorText(fd)}`);
  return new OwnedFd(fd);
}

/** Mounts the file system that is served through `fuseFd`. As virtio-fs does, the kernel checks permissions, for all users. */
export function mountFuse(source: string, mountPoint: string, fuseFd: number, flags: number): void {
  const identity = `user_id=${Deno.uid() ?? 0},group_id=${Deno.gid() ?? 0}`;
  const data = `fd=${fuseFd},rootmode=40000,${identity},default_permissions,allow_other`;
  const result = status(
    libc.mount(
      cString(source),
      cString(mountPoint),
      cString(FILE_SYSTEM_TYPE),
      flags,
      cString(data),
    ),
  );
  if (result === -EPERM) {
    throw new SetupError(`Cannot mount on "${mountPoint}": it needs root (CAP_SYS_ADMIN)`);
  }
  if (result < 0) {
    throw new SetupError(`Cannot mount on "${mountPoint}": ${errorText(result)}`);
  }
}

/** Unmounts. "busy" where somebody uses it: then it is out of sight, and ends with the last user. */
export function unmount(mountPoint: string): "done" | "busy" {
  const result = status(libc.umount2(cString(mountPoint), 0));
  if (result === 0 || result === -EINVAL) return "done";
  if (result !== -EBUSY) {
    throw new SetupError(`Cannot unmount "${mountPoint}": ${errnoName(result)}`);
  }
  libc.umount2(cString(mountPoint), MNT_DETACH);
  return "busy";
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}
