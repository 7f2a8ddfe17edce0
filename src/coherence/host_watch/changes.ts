/**
 * What a watch of the host tells, and to whom.
 *
 * @module
 */

/** Who is told of changes that somebody else made. Both are called on the thread that opened the watch. */
export interface HostChanges {
  /**
   * The attributes, the data or the entries of an inode changed. The device is minor (lo) and major (hi) as in struct statx, the inode number
   * two halves. Called for any inode of the file systems watched, known to a guest or not, and rather twice than not at all.
   */
  changed(devLo: number, devHi: number, inoLo: number, inoHi: number): void;
  /** The kernel dropped events: any inode may have changed. */
  overflowed(): void;
}
