/**
 * What the main thread and the mount's Worker say to each other.
 *
 * @module
 */

/** The first message to the Worker: connect. */
export interface MountStart {
  readonly socketPath: string;
  readonly fuseFd: number;
  readonly queueCount: number;
  readonly pollMicroseconds: number;
}

/** Where a mount's notices are. */
export interface NoticeSource {
  /** See `notice_ring.ts`. */
  readonly ring: SharedArrayBuffer;
  /** Descriptors that the thread which writes the notices must not hold on to: whoever is at their other end waits for them to be closed. */
  readonly foreign: readonly number[];
}

/** What the thread that writes notices is told: begin. */
export interface NoticeStart extends NoticeSource {
  readonly fuseFd: number;
}

/** What it says: it has begun, or why it cannot. */
export type NoticeMessage =
  | { readonly kind: "begun" }
  | { readonly kind: "failed"; readonly reason: string };

/** The second, without content: the kernel has mounted, and sends requests. */
export type MountMessage =
  /** The daemon is there. */
  | {
    readonly kind: "connected";
    readonly tag: string | null;
    /** What will be sent to the kernel unasked, if anything. */
    readonly notices: NoticeSource | null;
  }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "warning"; readonly message: string }
  | { readonly kind: "unmounted" }
  /** The daemon is gone; every request has been answered with ENOTCONN. */
  | { readonly kind: "dead"; readonly reason: string };
