/**
 * inotify(7): what the kernel tells of changes in single directories, by name.
 *
 * @module
 */

/** sys/inotify.h: struct inotify_event; NAME has LEN bytes, NULs at its end included */
export const INOTIFY_EVENT = { WD: 0, MASK: 4, COOKIE: 8, LEN: 12, NAME: 16, SIZE: 16 } as const;

/** inotify_init1(2) */
export const IN_CLOEXEC = 0o2000000;
export const IN_NONBLOCK = 0o4000;

/** Events */
export const IN_MODIFY = 0x2;
export const IN_ATTRIB = 0x4;
export const IN_CLOSE_WRITE = 0x8;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
export const IN_UNMOUNT = 0x2000;
export const IN_Q_OVERFLOW = 0x4000;
/** The watch is gone: removed, or its directory deleted or unmounted. */
export const IN_IGNORED = 0x8000;
export const IN_ISDIR = 0x40000000;

/** inotify_add_watch(2) */
export const IN_ONLYDIR = 0x1000000;
export const IN_DONT_FOLLOW = 0x2000000;
