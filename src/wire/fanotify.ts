/**
 * fanotify(7): what the kernel tells of changes in whole file systems, by file handle.
 *
 * @module
 */

/** linux/fanotify.h: struct fanotify_event_metadata, followed by info records up to EVENT_LEN */
export const FANOTIFY_EVENT_METADATA = {
  EVENT_LEN: 0,
  VERS: 4,
  METADATA_LEN: 6,
  /** 64 bits; the events that exist are in the lower half. */
  MASK: 8,
  FD: 16,
  PID: 20,
  SIZE: 24,
} as const;
export const FANOTIFY_METADATA_VERSION = 3;

/** linux/fanotify.h: struct fanotify_event_info_header */
export const FANOTIFY_EVENT_INFO_HEADER = { INFO_TYPE: 0, LEN: 2, SIZE: 4 } as const;
/** linux/fanotify.h: struct fanotify_event_info_fid; HANDLE is a struct file_handle */
export const FANOTIFY_EVENT_INFO_FID = { FSID: 4, HANDLE: 12 } as const;
export const FAN_EVENT_INFO_TYPE_FID = 1;
export const FAN_EVENT_INFO_TYPE_DFID_NAME = 2;
export const FAN_EVENT_INFO_TYPE_DFID = 3;

/** fanotify_init(2) */
export const FAN_CLOEXEC = 0x1;
export const FAN_NONBLOCK = 0x2;
export const FAN_CLASS_NOTIF = 0;
export const FAN_REPORT_FID = 0x200;
export const FAN_REPORT_DIR_FID = 0x400;
export const FAN_REPORT_NAME = 0x800;
export const FAN_REPORT_TARGET_FID = 0x1000;

/** fanotify_mark(2) */
export const FAN_MARK_ADD = 0x1;
export const FAN_MARK_FILESYSTEM = 0x100;

/** Events */
export const FAN_MODIFY = 0x2;
export const FAN_ATTRIB = 0x4;
export const FAN_CLOSE_WRITE = 0x8;
export const FAN_MOVED_FROM = 0x40;
export const FAN_MOVED_TO = 0x80;
export const FAN_CREATE = 0x100;
export const FAN_DELETE = 0x200;
export const FAN_DELETE_SELF = 0x400;
export const FAN_MOVE_SELF = 0x800;
export const FAN_Q_OVERFLOW = 0x4000;
export const FAN_ONDIR = 0x40000000;
