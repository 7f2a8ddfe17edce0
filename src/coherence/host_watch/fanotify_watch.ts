/**
 * Changes of whole file systems, with fanotify(7): nothing is missed, whatever name or descriptor a change is made through, and each event says
 * which process made it. Takes CAP_SYS_ADMIN (and CAP_DAC_READ_SEARCH where handles have to be opened).
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { EINVAL, ENODEV, EOPNOTSUPP, EPERM, errnoName, EXDEV } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import {
  FAN_ATTRIB,
  FAN_CLASS_NOTIF,
  FAN_CLOEXEC,
  FAN_CLOSE_WRITE,
  FAN_CREATE,
  FAN_DELETE,
  FAN_DELETE_SELF,
  FAN_EVENT_INFO_TYPE_DFID,
  FAN_EVENT_INFO_TYPE_DFID_NAME,
  FAN_EVENT_INFO_TYPE_FID,
  FAN_MARK_ADD,
  FAN_MARK_FILESYSTEM,
  FAN_MODIFY,
  FAN_MOVE_SELF,
  FAN_MOVED_FROM,
  FAN_MOVED_TO,
  FAN_NONBLOCK,
  FAN_ONDIR,
  FAN_Q_OVERFLOW,
  FAN_REPORT_DIR_FID,
  FAN_REPORT_FID,
  FAN_REPORT_NAME,
  FAN_REPORT_TARGET_FID,
  FANOTIFY_EVENT_INFO_FID,
  FANOTIFY_EVENT_INFO_HEADER,
  FANOTIFY_EVENT_METADATA,
  FANOTIFY_METADATA_VERSION,
} from "../../wire/fanotify.ts";
import { AT_FDCWD } from "../../wire/linux.ts";
import type { HostChanges } from "./changes.ts";
import { readEvents } from "./event_reader.ts";
import { MarkedFileSystem } from "./file_handles.ts";
import { SCRATCH, Scratch } from "./scratch.ts";

/** Events of a directory's entries: they name the directory, and the child. */
const OF_ENTRIES = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;

/** CLOSE_WRITE because it is all that the kernel tells of stores through a mapping: at the munmap(2), if the file is closed by then. */
const EVENTS = OF_ENTRIES | FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_DELETE_SELF |
  FAN_MOVE_SELF | FAN_ONDIR;

const CLASS = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK;
/** The child beside the directory came with Linux 5.17; before, a child is reported for its own events only (ATTRIB, MOVE_SELF, DELETE_SELF). */
const WAYS = [
  CLASS | FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME | FAN_REPORT_TARGET_FID,
  CLASS | FAN_REPORT_FID | FAN_REPORT_DIR_FID,
] as const;

const FOR_THE_PRIVILEGED = "fanotify takes CAP_SYS_ADMIN";

const { INFO_TYPE, LEN } = FANOTIFY_EVENT_INFO_HEADER;

/** One fanotify group. */
export class FanotifyWatch {
  readonly #fd: OwnedFd;
  readonly #changes: HostChanges;
  readonly #isDaemon: (pid: number) => boolean;
  readonly #scratch = new Scratch();
  #fileSystems: MarkedFileSystem[] = [];

  private constructor(fd: number, changes: HostChanges, isDaemon: (pid: number) => boolean) {
    this.#fd = new OwnedFd(fd);
    this.#changes = changes;
    this.#isDaemon = isDaemon;
  }

  /** A group without marks, or the reason why this process or kernel cannot have one. */
  static open(
    changes: HostChanges,
    isDaemon: (pid: number) => boolean,
  ): FanotifyWatch | string {
    let fd = -EINVAL;
    for (let way = 0; fd === -EINVAL && way < WAYS.length; way++) {
      fd = status(libc.fanotify_init(WAYS[way]!, 0));
    }
    if (fd < 0) return refusal(fd);
    return new FanotifyWatch(fd, changes, isDaemon);
  }

  /** Watches the file system mounted at `path`; otherwise the reason why it cannot be. */
  mark(path: string): "marked" | { readonly refused: string } {
    const found = MarkedFileSystem.find(path, this.#scratch);
    if (typeof found === "string") return { refused: found };
    const result = status(
      libc.fanotify_mark(
        this.#fd.number,
        FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
        EVENTS,
        AT_FDCWD,
        this.#scratch.path(path),
      ),
    );
    if (result < 0) return { refused: refusal(result) };
    // A file system that comes back may be another device, and one that is mounted twice needs no second mark.
    this.#fileSystems = this.#fileSystems.filter((other) =>
      other.fsidLo !== found.fsidLo || other.fsidHi !== found.fsidHi
    );
    this.#fileSystems.push(found);
    return "marked";
  }

  /** Reports until aborted; then the group is closed. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await readEvents(
        this.#fd.number,
        this.#scratch,
        signal,
        (length) => this.#report(length),
        () => {},
      );
    } finally {
      this.close();
    }
  }

  /** Without having run. */
  close(): void {
    if (this.#fd.closed) return;
    this.#fd.close();
    this.#scratch.giveBack();
  }

  #report(length: number): void {
    const { view } = this.#scratch.memory;
    const end = SCRATCH.EVENTS + length;
    for (let event: number = SCRATCH.EVENTS; event < end;) {
      const version = view.getUint8(event + FANOTIFY_EVENT_METADATA.VERS);
      assert(version === FANOTIFY_METADATA_VERSION, "the kernel keeps to the version it was asked");
      const mask = view.getUint32(event + FANOTIFY_EVENT_METADATA.MASK, true);
      const pid = view.getInt32(event + FANOTIFY_EVENT_METADATA.PID, true);
      const next = event + view.getUint32(event + FANOTIFY_EVENT_METADATA.EVENT_LEN, true);
      if ((mask & FAN_Q_OVERFLOW) !== 0) this.#changes.overflowed();
      // 0 is a process of another pid namespace.
      else if (pid === 0 || !this.#isDaemon(pid)) this.#reportInodes(event, next, mask);
      event = next;
    }
    for (const fileSystem of this.#fileSystems) fileSystem.endBatch();
  }

  #reportInodes(event: number, end: number, mask: number): void {
    const { view } = this.#scratch.memory;
    // With an event of a file itself the directory is only named; with one of a directory itself it is that directory.
    const directoryChanged = (mask & (OF_ENTRIES | FAN_ONDIR)) !== 0;
    let info = event + view.getUint16(event + FANOTIFY_EVENT_METADATA.METADATA_LEN, true);
    while (info < end) {
      const type = view.getUint8(info + INFO_TYPE);
      if (
        type === FAN_EVENT_INFO_TYPE_FID ||
        (directoryChanged &&
          (type === FAN_EVENT_INFO_TYPE_DFID_NAME || type === FAN_EVENT_INFO_TYPE_DFID))
      ) this.#reportInode(info);
      info += view.getUint16(info + LEN, true);
    }
  }

  #reportInode(info: number): void {
    const scratch = this.#scratch;
    const { view } = scratch.memory;
    const fsidLo = view.getUint32(info + FANOTIFY_EVENT_INFO_FID.FSID, true);
    const fsidHi = view.getUint32(info + FANOTIFY_EVENT_INFO_FID.FSID + 4, true);
    for (const fileSystem of this.#fileSystems) {
      if (fileSystem.fsidLo !== fsidLo || fileSystem.fsidHi !== fsidHi) continue;
      if (fileSystem.inodeOf(info + FANOTIFY_EVENT_INFO_FID.HANDLE)) {
        this.#changes.changed(scratch.devLo, scratch.devHi, scratch.inoLo, scratch.inoHi);
      }
      return;
    }
  }
}

function refusal(result: number): string {
  switch (-result) {
    // Since Linux 5.13 anybody may have a group, but not marks of file systems.
    case EPERM:
      return FOR_THE_PRIVILEGED;
    case ENODEV:
      return "it has no number of its own (fsid)";
    case EXDEV:
      return "it is a subvolume";
    case EOPNOTSUPP:
      return "it has no file handles";
    default:
      return errnoName(result);
  }
}
