/**
 * What `serve` is told to do, after the command line has been read and checked. The command line makes
 * it, the device reads it; nothing else is passed between the two.
 *
 * Everything here is plain data: it is sent to the queue Workers as it is.
 *
 * @module
 */

/** `--cache`: how long a guest may trust what it was told. See `cache_policy.ts` for the numbers. */
export type CacheMode = "never" | "metadata" | "auto" | "always" | "shared";

/** `--inode-file-handles`: whether inodes are held by file handles instead of open descriptors. */
export type InodeFileHandles = "never" | "prefer" | "mandatory";

/** `--dax`: which files guests map into their window. */
export type DaxMode = "never" | "auto" | "always";

/** Ids of one side, from `first` on, and what they are on the other: `--translate-uid`, `--translate-gid`. */
export interface IdRule {
  /** The first id that the rule names. */
  readonly first: number;
  /** How many it names. */
  readonly count: number;
  /** What `first` becomes; the ids behind it follow. null = they must not be used. */
  readonly target: number | null;
  /** All of them become `target`. */
  readonly squash: boolean;
}

/** Whose ids mean whom. */
export interface IdTranslation {
  /** From the guest's ids to the host's. */
  readonly guestUids: readonly IdRule[];
  /** The same for groups. */
  readonly guestGids: readonly IdRule[];
  /** And back. */
  readonly hostUids: readonly IdRule[];
  /** And groups. */
  readonly hostGids: readonly IdRule[];
  /** `--deny-unmapped`: ids of the guest that no rule names must not be used; those of the host are nobody. */
  readonly denyUnmapped: boolean;
}

/** One rule of `--xattrmap`; the first that matches counts. See `xattr_map.ts`. */
export interface XattrRule {
  /** What becomes of the names that match. */
  readonly type: "prefix" | "ok" | "bad" | "unsupported";
  /** Matches names that the guest uses, if they start with `key`. */
  readonly client: boolean;
  /** Matches names that the host lists, if they start with `prepend`. */
  readonly server: boolean;
  /** How names of the guest begin. */
  readonly key: string;
  /** How names of the host begin, and what is put before the guest's. */
  readonly prepend: string;
}

/** What a guest may make the daemon hold at most; null = what follows from the limit of descriptors, see `budget.ts`. */
export interface GuestBudget {
  /** `--max-inodes` */
  readonly inodes: number | null;
  /** `--max-open-files`: files and directories. */
  readonly openFiles: number | null;
  /** `--max-locks`: owners of POSIX locks, counted for each file. */
  readonly locks: number | null;
  /** `--max-mappings`: pieces of files in the DAX window. */
  readonly mappings: number | null;
}

/** How the passthrough file system shows a host directory. */
export interface PassthroughConfig {
  /** The directory that the guest sees as its root. */
  readonly sharedDir: string;
  readonly cache: CacheMode;
  /** `--timeout SECONDS`: validity of entries and attributes; null = what the cache mode says. */
  readonly timeoutSeconds: number | null;
  /** `--negative-timeout SECONDS`: validity of "no such name"; null = what the cache mode says. */
  readonly negativeTimeoutSeconds: number | null;
  /** `--writeback`: the guest may keep written data back (FUSE_WRITEBACK_CACHE). */
  readonly writeback: boolean;
  /** `--allow-mmap`: shared mappings in the guest although its page cache is off. */
  readonly allowMmap: boolean;
  /** `--allow-direct-io`: a guest's O_DIRECT reaches the host's open(2). */
  readonly allowDirectIo: boolean;
  readonly readonly: boolean;
  readonly xattr: boolean;
  readonly posixAcl: boolean;
  readonly securityLabel: boolean;
  readonly readdirplus: boolean;
  readonly announceSubmounts: boolean;
  readonly killprivV2: boolean;
  /** `-o posix_lock`: fcntl locks are taken on the host, so that several guests and the host share them. */
  readonly posixLocks: boolean;
  /** `-o flock`: flock(2) locks are taken on the host. */
  readonly flockLocks: boolean;
  readonly inodeFileHandles: InodeFileHandles;
  /** `--preserve-noatime`: pass a guest's O_NOATIME on. */
  readonly preserveNoatime: boolean;
  /** `--dax`: never, auto (by size, type and use), always (every regular file that can be mapped). */
  readonly dax: DaxMode;
  /** `--translate-uid`, `--translate-gid` and their presets; null = ids are the same on both sides. */
  readonly ids: IdTranslation | null;
  /** `--xattrmap`; null = names are the same on both sides. */
  readonly xattrRules: readonly XattrRule[] | null;
  readonly budget: GuestBudget;
}

/** The DAX window that front ends are offered. */
export interface WindowConfig {
  /** Bytes: a power of two from 2 MiB on, as PCI wants it. */
  readonly size: number;
  /** vhost-user: the bit of VHOST_USER_PROTOCOL_F_SHMEM; some monitors speak a draft of it with bit 21. */
  readonly protocolBit: number;
}

/** `--cache shared`: the version table that all daemons of the host share. */
export interface VersionTableConfig {
  /** The table; its registry lies beside it. */
  readonly path: string;
  /** Slots of a table that is made: a power of two. One that is there keeps its own. */
  readonly slotCount: number;
  /** `--watch-host`: changes made on the host itself count, too. */
  readonly watchHost: boolean;
}

/** Where front ends connect. */
export type Endpoint =
  | { readonly kind: "path"; readonly path: string; readonly group: string | null }
  /** A listening socket that the launcher opened (libvirt's `--fd`). */
  | { readonly kind: "fd"; readonly fd: number };

/** One daemon: a socket, a device and the file system behind it. */
export interface ServeConfig {
  readonly endpoint: Endpoint;
  /** `--keep-listening`: wait for the next front end after a disconnect instead of ending. */
  readonly keepListening: boolean;
  /** The mount tag given to front ends that ask the back end for it (GET_CONFIG); null = none. */
  readonly tag: string | null;
  /** `--num-request-queues`: one Worker each. */
  readonly requestQueueCount: number;
  /** `--poll-us`: how long an idle queue is watched before its Worker sleeps, in microseconds. */
  readonly pollMicroseconds: number;
  /** `--rlimit-nofile`: descriptors to ask for; null = min(1,000,000, fs.nr_open), 0 = leave it. */
  readonly rlimitNofile: number | null;
  /** `--dax-window`; null = none is offered. */
  readonly window: WindowConfig | null;
  /** `--version-table`; null = no shared versions. */
  readonly versions: VersionTableConfig | null;
  /** `--state-file`: keeps the state memory, for `inspect` after the daemon's end; null = it goes with the daemon. */
  readonly stateFile: string | null;
  /** `--metrics-socket`: OpenMetrics over HTTP are served there; null = nowhere. */
  readonly metricsSocket: string | null;
  readonly passthrough: PassthroughConfig;
}

/** The defaults of every option, which are Rust virtiofsd's where it has the option. */
export const PASSTHROUGH_DEFAULTS: Omit<PassthroughConfig, "sharedDir"> = {
  cache: "auto",
  timeoutSeconds: null,
  negativeTimeoutSeconds: null,
  writeback: false,
  allowMmap: false,
  allowDirectIo: false,
  readonly: false,
  xattr: false,
  posixAcl: false,
  securityLabel: false,
  readdirplus: true,
  announceSubmounts: true,
  killprivV2: false,
  posixLocks: false,
  flockLocks: false,
  inodeFileHandles: "prefer",
  preserveNoatime: false,
  dax: "auto",
  ids: null,
  xattrRules: null,
  budget: { inodes: null, openFiles: null, locks: null, mappings: null },
};

/** The default of `--dax-window`. Windows are not free: a Linux guest spends a 64th of their size on page structs. */
export const DAX_WINDOW_SIZE_DEFAULT: number = 512 * 1024 ** 2;
/** What windows are made of: the ranges that guests map. */
export const DAX_WINDOW_UNIT: number = 2 * 1024 ** 2;

/**
 * Most request queues with `--cache shared`: so many changes at a time can be counted in a version, 4095, as 256 daemons with so many threads
 * and their main threads make at most.
 */
export const SHARED_QUEUE_COUNT_MAX = 14;
/** The default of `--version-table`. */
export const VERSION_TABLE_DEFAULT: string = "/dev/shm/virtiofsd-ts-versions";
/** The default of `--version-slots`: 31 MiB, table and registry. */
export const VERSION_SLOTS_DEFAULT: number = 1 << 19;
