/**
 * What the main thread and the guests' Workers say to each other.
 *
 * @module
 */

import type { GuestCacheMode } from "../../guest/vfs/cache_mode.ts";
import type { Features } from "./choice.ts";
import type { Call } from "./operations.ts";

/** The first message to a Worker: connect, and be these guests. */
export interface GuestStart {
  readonly socketPath: string;
  readonly cache: GuestCacheMode;
  readonly thread: number;
  /** The guests that share this connection, by their number among all. */
  readonly guests: readonly number[];
  readonly seed: number;
  /** Counts connections: the choices of each are others. */
  readonly connection: number;
  readonly features: Features;
  readonly countsDirectories: boolean;
  /** One Int32: the order number that was drawn last. */
  readonly order: Int32Array<SharedArrayBuffer>;
}

/** Each further message: do so many operations with each guest; go on with another daemon; or end the connection in order. */
export type GuestOrder =
  | { readonly kind: "round"; readonly operationCount: number }
  | { readonly kind: "reconnect"; readonly socketPath: string }
  | { readonly kind: "end" };

/** What a Worker answers. */
export type GuestMessage =
  | { readonly kind: "connected" }
  /** `requestCount`: requests that the round took. */
  | { readonly kind: "round"; readonly history: readonly Call[]; readonly requestCount: number }
  /** In a round: the daemon is gone. The answer is another one, or the end. */
  | { readonly kind: "lost"; readonly reason: string }
  | { readonly kind: "ended" }
  /** There is no daemon. */
  | { readonly kind: "failed"; readonly reason: string };
