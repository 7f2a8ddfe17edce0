/**
 * Who a request is made for: the identity that a kernel takes from the calling process.
 *
 * @module
 */

/** One process of the guest, as the daemon and the permission checks see it. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly pid: number;
  /** Mode bits that new files do not get. */
  readonly umask: number;
}
