/**
 * How the daemon isolates itself: what `--sandbox`, `--seccomp`, `--modcaps`, `--uid-map` and `--gid-map` say. Plain data.
 *
 * @module
 */

/** `--sandbox` */
export const SANDBOX_MODES = ["namespace", "chroot", "none"] as const;
/** `--seccomp` */
export const SECCOMP_ACTIONS = ["kill", "log", "trap", "none"] as const;

/** One of {@linkcode SANDBOX_MODES}. */
export type SandboxMode = typeof SANDBOX_MODES[number];

/** One of {@linkcode SECCOMP_ACTIONS}. */
export type SeccompAction = typeof SECCOMP_ACTIONS[number];

/** A range of ids of the user namespace, and what they are outside. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** `--modcaps`: capabilities by number, beside those that are kept by default. */
export interface CapabilityChanges {
  readonly add: readonly number[];
  readonly remove: readonly number[];
}

/** Everything about isolation. */
export interface IsolationConfig {
  readonly sandbox: SandboxMode;
  readonly seccomp: SeccompAction;
  /** null = --modcaps was not given. */
  readonly capabilities: CapabilityChanges | null;
  /** `--uid-map`; empty = one's own id stays what it is. */
  readonly uidMap: readonly IdRange[];
  readonly gidMap: readonly IdRange[];
}

/** Whether a daemon is to be one process with the rights it was started with. */
export function isOff({ sandbox, seccomp, capabilities }: IsolationConfig): boolean {
  return sandbox === "none" && seccomp === "none" && capabilities === null;
}
