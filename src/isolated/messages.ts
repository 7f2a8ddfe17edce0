/**
 * What the process that was started and the one that serves say to each other.
 *
 * @module
 */

import type { ServeConfig } from "../config.ts";
import type { IsolationConfig } from "../isolation_config.ts";
import type { LogLevel } from "../log.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import type { Description } from "../state/description.ts";

/** The hidden command that the server is; the number of its channel's descriptor follows. */
export const CONFINED_COMMAND = "serve-confined";

/** The first message to the server. */
export interface ConfinedStart {
  readonly kind: "start";
  /** With an endpoint that is a descriptor, and the shared directory as it is seen outside. */
  readonly config: ServeConfig;
  readonly shown: Description;
  readonly isolation: IsolationConfig;
  readonly level: LogLevel;
  readonly syslog: boolean;
  /** Whether lines of the log are coloured: they go through a pipe. */
  readonly color: boolean;
  /** The server's number outside, and that of the process that was started. */
  readonly pid: number;
  readonly startedPid: number;
  /** Descriptors that the server has inherited. */
  readonly confineFd: number;
  readonly ownDirectories: OwnDirectories;
  readonly reportFd: number;
  readonly stateFd: number;
}

/** To the server. */
export type ToServer =
  | ConfinedStart
  /** A signal wants the daemon to end. */
  | { readonly kind: "end"; readonly reason: string }
  /** Padded views: with the root's descriptor, or why there are none. */
  | { readonly kind: "views"; readonly refusal: string | null }
  | { readonly kind: "watching"; readonly refusal: string | null }
  /** Inodes that were changed on the host: device (lo, hi) and number (lo, hi) of each, one after another. */
  | { readonly kind: "changed"; readonly files: readonly number[] }
  | { readonly kind: "overflowed" };

/** From the server. */
export type FromServer =
  | { readonly kind: "openViews" }
  | { readonly kind: "closeViews" }
  | { readonly kind: "watchHost" }
  | { readonly kind: "daemons"; readonly pids: readonly number[] }
  | { readonly kind: "watchTable"; readonly device: number; readonly inode: number };
