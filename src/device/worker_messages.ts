/**
 * What the main thread and a queue's Worker say to each other before the Worker's loop begins, and the log lines
 * that come out of it. Afterwards orders go through `control.ts`.
 *
 * @module
 */

import type { OwnDirectories } from "../sys/own_directories.ts";
import type { VersionsPlace } from "../coherence/versions.ts";
import type { PassthroughConfig } from "../config.ts";

/** Which file system the Worker makes. */
export type FileSystemSource =
  | { readonly kind: "passthrough"; readonly config: PassthroughConfig }
  /** A module whose default export makes one: `(options) => FileSystem`. */
  | { readonly kind: "module"; readonly url: string; readonly options: unknown };

/** The first and only message to a Worker. */
export interface WorkerStart {
  /** Queues this Worker serves; the first Worker has hiprio as well. */
  readonly queueIndices: readonly number[];
  readonly control: SharedArrayBuffer;
  readonly controlFd: number;
  readonly stateAddress: number;
  readonly pollMicroseconds: number;
  /** Log a line per request and reply. */
  readonly trace: boolean;
  readonly fileSystem: FileSystemSource;
  /** Where they have no path; else null. */
  readonly ownDirectories: OwnDirectories | null;
  /** The daemon's part in shared versions, or null. */
  readonly versions: VersionsPlace | null;
}

/** From a Worker: that its code is there, and how its start went. */
export type WorkerMessage =
  | { readonly kind: "loaded" }
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "log"; readonly level: "debug" | "info" | "warn"; readonly message: string };
