/**
 * What a workload is: work that the guest does on the mount, and what the host then finds.
 *
 * One file holds both halves of a workload, so that what was written and what must be found stand
 * side by side. The guest half runs in the guest's Deno, the host half in the test's.
 *
 * @module
 */
import type { GuestConfiguration } from "../configurations.ts";
import type { HostAction } from "../host_actions.ts";

/** What the guest half tells the host half: plain data. */
export type Facts = Record<string, unknown>;

/** The guest half's view. */
export interface GuestSide {
  /** This workload's own directory, as the guest sees it. */
  readonly dir: string;
  /** An empty directory on the guest's own tmpfs. */
  readonly scratch: string;
  readonly configuration: GuestConfiguration;
  /** The guest kernel's version, as [major, minor]. */
  readonly kernel: readonly [number, number];
  /** True on a mount of our daemon or a peer; false on a control target (tmpfs, hostfs). */
  readonly isVirtiofs: boolean;
  /** Bytes that the big-file workload writes. */
  readonly bigFileBytes: number;
  /** Asks the host to do something in this workload's directory, and waits until it is done. */
  host(action: HostAction): Promise<unknown>;
}

/** The host half's view. */
export interface HostSide {
  /** This workload's own directory, as the host sees it. */
  readonly dir: string;
  readonly configuration: GuestConfiguration;
}

/** One named piece of work. */
export interface Workload {
  readonly name: string;
  /** True: run in every configuration. False: only in those that say `workloads: "full"`. */
  readonly core: boolean;
  /** Says why the workload has no meaning in a configuration; null = it has. */
  notFor?(configuration: GuestConfiguration): string | null;
  /** On the host, before the guest boots. */
  prepare?(host: HostSide): void | Promise<void>;
  /** In the guest, on the mount. Throws when something is not as it must be. */
  run(guest: GuestSide): Facts | void | Promise<Facts | void>;
  /** On the host, when the guest has powered off. */
  verify?(host: HostSide, facts: Facts): void | Promise<void>;
}

/** True if the guest's page cache is out of the way (FOPEN_DIRECT_IO on every file). */
export function isDirectIo(configuration: GuestConfiguration): boolean {
  return configuration.cache === "never" || configuration.cache === "metadata";
}

/** True if the guest kernel is at least the version given. */
export function kernelAtLeast(guest: GuestSide, major: number, minor: number): boolean {
  const [guestMajor, guestMinor] = guest.kernel;
  return guestMajor > major || (guestMajor === major && guestMinor >= minor);
}
