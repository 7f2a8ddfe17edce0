/**
 * What `inspect` has seen: plain data, one object per view. `--json` prints it as it is; the tables, the page and the metrics are made from
 * it. Sizes are bytes; times are milliseconds since 1970, durations nanoseconds; counts are since the daemon started.
 *
 * Fields are added, never changed or taken away, as long as {@linkcode SCHEMA_VERSION} is the same.
 *
 * @module
 */

/** In every JSON object as `schema`. */
export const SCHEMA_VERSION = 1;

/** One daemon, as a line of the list. */
export interface DaemonSummary {
  readonly pid: number;
  readonly version: string;
  readonly socket: string;
  readonly sharedDir: string;
  readonly tag: string | null;
  readonly cache: string;
  readonly dax: string;
  readonly readonly: boolean;
  readonly requestQueues: number;
  readonly started: number;
  /** False for a state file whose daemon has gone. */
  readonly running: boolean;
  /** Whether a front end is connected, since when, and how many there were. */
  readonly connected: boolean;
  readonly connectedSince: number;
  readonly connections: number;
  /** Whether INIT has been agreed on, and the FUSE minor version. */
  readonly sessionActive: boolean;
  readonly fuseMinor: number;
  /** Requests answered, all queues. */
  readonly requests: number;
  readonly errors: number;
  readonly inodes: number;
  readonly inodeDescriptors: number;
  readonly openHandles: number;
  /** Descriptors that the process may have open. */
  readonly descriptorLimit: number;
  /** The version table's path, or null. */
  readonly versionTable: string | null;
}

/** `inspect list` */
export interface DaemonsView {
  readonly daemons: readonly DaemonSummary[];
  /** Processes of other users, which could not be looked into. */
  readonly unreadable: number;
  /** Why a daemon is there and cannot be shown: of another version, say. */
  readonly refused: readonly string[];
}

/** One opcode of one queue. */
export interface OpcodeRow {
  readonly queue: number;
  readonly opcode: number;
  /** fuse.h's name without the prefix. */
  readonly name: string;
  readonly requests: number;
  readonly errors: number;
  /** By name: { ENOENT: 3 }. */
  readonly errnos: Readonly<Record<string, number>>;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Nanoseconds: all requests together; the longest; quantiles from the histogram (within 19 %). */
  readonly totalNs: number;
  readonly maxNs: number;
  readonly medianNs: number;
  readonly p99Ns: number;
  /** The histogram's buckets that are not empty: [begin in ns, count]. */
  readonly histogram: readonly (readonly [number, number])[];
}

/** `inspect ops` */
export interface OpsView {
  readonly rows: readonly OpcodeRow[];
}

/** One inode that the guest knows. */
export interface InodeRow {
  readonly nodeid: number;
  readonly generation: number;
  /** As /proc tells it now; null where it does not (held by file handle, or gone). Below the shared directory it starts with "/". */
  readonly path: string | null;
  readonly device: string;
  readonly ino: string;
  readonly mode: number;
  readonly lookups: number;
  readonly openHandles: number;
  readonly heldBy: "descriptor" | "handle";
  readonly descriptor: number | null;
  /** Slot in the version table; 0 = none. */
  readonly versionSlot: number;
  /** Whether guests are told to map the file (DAX), and how many mappings there are. */
  readonly dax: boolean;
  readonly mappings: number;
}

/** `inspect inodes` */
export interface InodesView {
  readonly rows: readonly InodeRow[];
  readonly total: number;
  readonly descriptors: number;
  readonly descriptorLimit: number;
  readonly openHandles: number;
  /** Why inodes are not held by file handle though they should be, or null. */
  readonly handlesOff: string | null;
}

/** One mapping of the DAX window. */
export interface MappingRow {
  readonly start: number;
  readonly end: number;
  readonly nodeid: number;
  readonly path: string | null;
  readonly fileOffset: number;
  readonly writable: boolean;
  readonly state: "live" | "coming" | "going" | "planned";
  readonly since: number;
}

/** `inspect window` */
export interface WindowView {
  /** 0 = no front end has asked for a window. */
  readonly size: number;
  readonly rangeSize: number;
  readonly rangesUsed: number;
  readonly rangesFree: number;
  readonly mappings: readonly MappingRow[];
  readonly maps: number;
  readonly unmaps: number;
  readonly remaps: number;
  readonly refusals: number;
  readonly demotions: number;
}

/** A daemon that uses a version table. */
export interface OwnerRow {
  readonly owner: number;
  readonly pid: number;
  readonly since: number;
  readonly alive: boolean;
  readonly slots: number;
}

/** One slot that is in use. */
export interface VersionRow {
  readonly slot: number;
  /** The 64-bit value in decimal; changes done; changes in progress. */
  readonly value: string;
  readonly changes: number;
  readonly inProgress: number;
  readonly device: string;
  readonly ino: string;
  readonly path: string | null;
  readonly owners: readonly number[];
}

/** `inspect versions` */
export interface VersionsView {
  readonly path: string;
  readonly slotCount: number;
  readonly used: number;
  readonly free: number;
  readonly refusals: number;
  readonly sweeps: number;
  readonly owners: readonly OwnerRow[];
  readonly rows: readonly VersionRow[];
}

/** A request that is being served, or waits. */
export interface RequestRow {
  readonly opcode: number;
  readonly name: string;
  readonly nodeid: number;
  readonly since: number;
  readonly state: "served" | "waiting";
}

/** One queue. */
export interface QueueRow {
  readonly queue: number;
  readonly kind: "hiprio" | "request";
  readonly state: "stopped" | "running" | "broken";
  readonly size: number;
  readonly eventIdx: boolean;
  readonly nextAvail: number;
  readonly nextUsed: number;
  readonly kicks: number;
  readonly notifications: number;
  readonly suppressed: number;
  readonly batches: number;
  readonly batchMax: number;
  readonly requests: number;
  /** Requests that were put aside; `outstanding` has the first 64 of them. */
  readonly waiting?: number;
  readonly outstanding: readonly RequestRow[];
}

/** `inspect queues` */
export interface QueuesView {
  readonly rows: readonly QueueRow[];
  /** Names of what the driver and the front end took. */
  readonly features: readonly string[];
  readonly protocolFeatures: readonly string[];
  readonly fuseFlags: readonly string[];
  readonly regions: readonly { readonly guestAddress: number; readonly size: number }[];
}
