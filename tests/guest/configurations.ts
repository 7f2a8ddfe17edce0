/**
 * The daemon configurations that a real guest is booted with, one boot each.
 *
 * @module
 */

/** What the guest's kernel is told to trust. */
export type Cache = "never" | "metadata" | "auto" | "always" | "shared";

/** How the daemon is started for one boot, and what that means for the workloads. */
export interface GuestConfiguration {
  readonly name: string;
  readonly cache: Cache;
  readonly writeback: boolean;
  readonly readonly: boolean;
  /** user.* and trusted.* attributes reach the host. */
  readonly xattr: boolean;
  readonly posixAcl: boolean;
  /** fcntl and flock locks are taken on the host. */
  readonly hostLocks: boolean;
  readonly killprivV2: boolean;
  /** How the daemon holds on to inodes; `default` leaves the choice to it. */
  readonly fileHandles: "default" | "never" | "mandatory";
  readonly readdirplus: boolean;
  /** `core`: the workloads marked so. `full`: all of them, at full size. */
  readonly workloads: "core" | "full";
}

const PLAIN: Omit<GuestConfiguration, "name"> = {
  cache: "auto",
  writeback: false,
  readonly: false,
  xattr: false,
  posixAcl: false,
  hostLocks: false,
  killprivV2: false,
  fileHandles: "default",
  readdirplus: true,
  workloads: "core",
};

function cacheConfigurations(): GuestConfiguration[] {
  const caches: Cache[] = ["never", "metadata", "auto", "always"];
  return caches.flatMap((cache) =>
    [false, true].map((writeback): GuestConfiguration => ({
      ...PLAIN,
      name: `cache=${cache}${writeback ? " writeback" : ""}`,
      cache,
      writeback,
      workloads: cache === "auto" && !writeback ? "full" : "core",
    }))
  );
}

/** Every configuration of the guest suite, in order. */
export const CONFIGURATIONS: readonly GuestConfiguration[] = [
  ...cacheConfigurations(),
  // A kernel does not share versions: as auto, with versions counted beside.
  { ...PLAIN, name: "cache=shared", cache: "shared" },
  { ...PLAIN, name: "xattr posix-acl", xattr: true, posixAcl: true },
  { ...PLAIN, name: "inode-file-handles=mandatory", fileHandles: "mandatory" },
  { ...PLAIN, name: "inode-file-handles=never", fileHandles: "never" },
  { ...PLAIN, name: "posix_lock flock", hostLocks: true },
  { ...PLAIN, name: "killpriv-v2", killprivV2: true },
  { ...PLAIN, name: "no-readdirplus", readdirplus: false },
  { ...PLAIN, name: "readonly", readonly: true },
];

/** The daemon's flags for a configuration, in the form that Rust virtiofsd takes as well; `workDir` is for files of its own. */
export function daemonFlags(configuration: GuestConfiguration, workDir: string): string[] {
  const flags = ["--cache", configuration.cache];
  if (configuration.cache === "shared") {
    flags.push("--version-table", `${workDir}/versions`, "--version-slots", "4096");
  }
  if (configuration.writeback) flags.push("--writeback");
  if (configuration.readonly) flags.push("--readonly");
  if (configuration.xattr) flags.push("--xattr");
  if (configuration.posixAcl) flags.push("--posix-acl");
  if (configuration.hostLocks) flags.push("-o", "posix_lock,flock");
  if (configuration.killprivV2) flags.push("--killpriv-v2");
  if (!configuration.readdirplus) flags.push("--no-readdirplus");
  if (configuration.fileHandles !== "default") {
    flags.push(`--inode-file-handles=${configuration.fileHandles}`);
  }
  return flags;
}
