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

/** The second, without content: the kernel has mounted, and sends requests. */
export type MountMessage =
  /** The daemon is there. */
  | { readonly kind: "connected"; readonly tag: string | null }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "warning"; readonly message: string }
  | { readonly kind: "unmounted" }
  /** The daemon is gone; every request has been answered with ENOTCONN. */
  | { readonly kind: "dead"; readonly reason: string };
