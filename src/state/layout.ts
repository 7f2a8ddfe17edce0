/**
 * The daemon's state memory: one memfd that holds every table that several threads share. It is flat numbers
 * behind a versioned header, so that another process can map it read-only and look at a running daemon at no
 * cost to it.
 *
 * The file is as large as its tables could ever become, and sparse: a page costs memory when it is first
 * touched, so an idle daemon pays for a few pages, and nothing ever moves.
 *
 * @module
 */

import { IntervalNodes } from "../intervals/interval_tree.ts";

/** "virtfsts" in little-endian bytes. */
export const STATE_MAGIC_LO = 0x74726976;
export const STATE_MAGIC_HI = 0x73747366;
/** Increased whenever an offset below, or in one of the tables, changes its meaning. */
export const STATE_LAYOUT_VERSION = 4;
/** The memfd's name, by which it is found in /proc/PID/fd. */
export const STATE_MEMORY_NAME = "virtiofsd-ts-state";

/** Most inodes known at a time. 16 Mi × 128 bytes is 2 GiB of address space, of which touched pages are paid. */
export const INODE_COUNT_MAX = 1 << 24;
/** Most open files and directories at a time. */
export const HANDLE_COUNT_MAX = 1 << 20;
/** Most (file, lock owner) pairs that hold or wait for a POSIX lock on the host. */
export const LOCK_OWNER_COUNT_MAX = 1 << 16;
/** Most mounts under the shared directory whose inodes can be held by file handle. */
export const MOUNT_COUNT_MAX = 1024;
/** Most live mappings in the DAX window: 128 GiB in pieces of 2 MiB. Linux lets a monitor have about as many (vm.max_map_count). */
export const MAPPING_COUNT_MAX = 1 << 16;
/** Files whose random reads were found to thrash the window, remembered by inode number. A power of two. */
export const DEMOTION_COUNT = 1024;
/** A power of two. */
export const DIRECTORY_MUTEX_COUNT = 64;
/** Most queues: the hiprio queue and 64 for requests. */
export const QUEUE_COUNT_MAX = 65;

/** The header page. */
export const STATE_HEADER = {
  MAGIC_LO: 0,
  MAGIC_HI: 4,
  LAYOUT_VERSION: 8,
  PID: 12,
  INODE_MUTEX: 16,
  HANDLE_MUTEX: 20,
  LOCK_MUTEX: 24,
  MOUNT_MUTEX: 28,
  /** Inode table: next never-used slot, head of the free list, slots in use, log2 of the hash size. */
  INODE_FRESH: 32,
  INODE_FREE: 36,
  INODE_USED: 40,
  INODE_HASH_BITS: 44,
  /** Descriptors that the inode table holds. */
  INODE_FDS: 48,
  /** Ranges that POSIX locks may have: see `lock_ranges.ts`. */
  LOCK_RANGES: 52,
  /** Those of them that were there when last counted. */
  LOCK_RANGES_COUNTED: 56,
  /** Handle table: the same. */
  HANDLE_FRESH: 64,
  HANDLE_FREE: 68,
  HANDLE_USED: 72,
  /** Lock owners in use; and a count of releases, which makes waiting requests try again. */
  LOCK_FRESH: 80,
  LOCK_FREE: 84,
  LOCK_USED: 88,
  LOCK_RELEASES: 92,
  MOUNT_USED: 96,
  /** Descriptors that the process may have open. */
  FD_LIMIT: 100,
  /** Double: milliseconds since 1970 when the daemon started. */
  STARTED: 104,
  /** Bytes of the text at DESCRIPTION_OFFSET. */
  DESCRIPTION_SIZE: 112,
  /** Why inodes cannot be held by file handle, though they should: an errno, or 0. */
  HANDLES_ERRNO: 116,
  /** Bytes of state memory: a file that is shorter has been cut. */
  STATE_SIZE: 120,
  /** What INIT agreed on, see `fuse/session.ts`. */
  SESSION: 128,
  /** The DAX window, see {@linkcode DAX_HEADER}. */
  DAX: 256,
  /** The daemon's part in shared versions, see {@linkcode VERSIONS_HEADER}. */
  VERSIONS: 512,
  /** Mutexes of directory positions; handle slots share them by number. */
  DIRECTORY_MUTEXES: 1024,
  SIZE: 4096,
} as const;

/** The session, from STATE_HEADER.SESSION on, as `fuse/session.ts` keeps it. */
export const SESSION_WORDS_AT = { ACTIVE: 0, MINOR: 4, FLAGS: 8, FLAGS2: 12, COUNT: 16 } as const;

/** The DAX window, from STATE_HEADER.DAX on. Doubles hold whole numbers. */
export const DAX_HEADER = {
  /** Guards the back-end channel and everything here but COMMANDS. */
  MUTEX: 0,
  /** Orders from the main thread under way: who waits for the front end gives up, since that may be waiting for us. */
  COMMANDS: 4,
  /** The socket to the front end (vhost-user: SET_BACKEND_REQ_FD) plus 1; 0 = no window. */
  CHANNEL: 8,
  /** Root directory of the views' file system (`dax/views.ts`) plus 1; 0 = none. */
  VIEW_ROOT: 12,
  /** What the front end can map in this session: DAX_ABLE_*. */
  ABILITIES: 16,
  /** Odd while a mapping is being changed: readers of the table look again. */
  SEQUENCE: 20,
  /** Mapping slots: root of the interval tree, next never-used slot, free list, slots in use. */
  ROOT: 24,
  FRESH: 28,
  FREE: 32,
  USED: 36,
  /** The slot that the front end has been asked to map or unmap and has not answered about; 0 = none, -1 = a trial of its abilities. */
  IN_FLIGHT: 40,
  /** Slots that are to be mapped as soon as there is time: what is left of a mapping that lost a part. */
  PLANNED: 44,
  /** Bytes of the window. */
  WINDOW_SIZE: 48,
  /** Counts since the daemon started. REMAPS: mappings of a file beyond its size, so some part was there before. */
  MAPS: 56,
  UNMAPS: 64,
  REMAPS: 72,
  REFUSALS: 80,
  DEMOTIONS: 88,
  /** Window offsets that the mapping in flight is to lose; the rest of it is mapped again. */
  CUT_START: 96,
  CUT_END: 104,
  /** Most mappings at a time that the front end can bear. */
  MAPPING_LIMIT: 112,
  /** Data regions: guards them, and how many there are. */
  REGION_MUTEX: 120,
  REGION_COUNT: 124,
  /** Descriptors that mappings are made from. */
  FDS: 128,
  SIZE: 136,
} as const;
/** DAX_HEADER.ABILITIES: files may be mapped at all; read-only descriptors too. */
export const DAX_ABLE_TO_MAP = 1;
export const DAX_ABLE_TO_MAP_READ_ONLY = 2;
/** A trial of what it can map may still be in the window. */
export const DAX_TRIAL_LEFT = 4;

/** Shared versions, from STATE_HEADER.VERSIONS on. */
export const VERSIONS_HEADER = {
  /** The daemon's number in the registry plus 1; 0 = no shared versions. */
  OWNER: 0,
  /** Held while dead daemons are swept up after. */
  SWEEP_MUTEX: 4,
  /** VERSION_REGION_*: the table in the front end. */
  REGION: 8,
  /** How often a guest that shares versions was told of an inode that has no slot. */
  UNVERSIONED: 12,
  SIZE: 64,
} as const;
/** VERSIONS_HEADER.REGION: not mapped; the front end has been asked to unmap it, or to map it, and has not answered; mapped. */
export const VERSION_REGION_NONE = 0;
export const VERSION_REGION_GOING = 1;
export const VERSION_REGION_COMING = 2;
export const VERSION_REGION_MAPPED = 3;

/** One mapping: slot number = node of the interval tree over window offsets. */
export const MAPPING_SLOT = {
  /** MAPPING_* */
  STATE: 0,
  NODEID: 4,
  /** Next slot in the free list or the list of planned ones. */
  NEXT: 8,
  /** Whether the guest can write through it. */
  WRITABLE: 12,
  /** Doubles: offset in the file; milliseconds since 1970 when it was mapped. */
  FILE_OFFSET: 16,
  SINCE: 24,
  SIZE: 32,
} as const;
export const MAPPING_FREE = 0;
export const MAPPING_LIVE = 1;
/** The front end has been asked to map it. */
export const MAPPING_COMING = 2;
/** The front end has been asked to unmap it. */
export const MAPPING_GOING = 3;
export const MAPPING_PLANNED = 4;

/** A mapping that the front end has handed back as memory of the guest. Doubles: addresses and bytes. */
export const DATA_REGION = { GUEST: 0, HOST: 8, LENGTH: 16, SIZE: 24 } as const;
/** As many as memory slots are offered. */
export const DATA_REGION_COUNT_MAX = 512;

/** What DAX knows of an inode: slot number = nodeid. Valid if GENERATION is the inode's. */
export const DAX_INODE = {
  GENERATION: 0,
  /** The descriptor that its mappings are made from plus 1; 0 = none. */
  FD: 4,
  /** Mappings that are not free. */
  MAPPINGS: 8,
  /** DAX_INODE_* */
  FLAGS: 12,
  /** Mappings made so far, and those of them that did not follow the one before. */
  MAPS: 16,
  JUMPS: 20,
  /** Doubles: see `dax/thrashing.ts`. */
  LEVEL: 24,
  LEVEL_TIME: 32,
  LAST_END: 40,
  SIZE: 48,
} as const;
/** The guest has been told to map the file (fuse.h: FUSE_ATTR_DAX). */
export const DAX_INODE_MAPPED = 1;
/** The descriptor is writable. */
export const DAX_INODE_WRITABLE = 2;

/** A file that is better read than mapped. Doubles: until when, in milliseconds since 1970. */
export const DEMOTION = {
  DEV_LO: 0,
  DEV_HI: 4,
  INO_LO: 8,
  INO_HI: 12,
  UNTIL: 16,
  /** Of the file's birth time: inode numbers are used again. */
  BIRTH: 24,
  SIZE: 32,
} as const;

/** One known inode: slot number = nodeid. */
export const INODE_SLOT = {
  DEV_LO: 0,
  DEV_HI: 4,
  INO_LO: 8,
  INO_HI: 12,
  MOUNT_ID: 16,
  /** Increased each time the slot is given to another inode. */
  GENERATION: 20,
  /** 0 = free; otherwise 1 for being known to the guest, plus 1 for each request that uses it now. */
  REFERENCES: 24,
  /** O_PATH descriptor, or -1: held by file handle. */
  FD: 28,
  LOOKUPS_LO: 32,
  LOOKUPS_HI: 36,
  /** Next slot in the hash chain or the free list. */
  NEXT: 40,
  MODE: 44,
  FLAGS: 48,
  VERSION_SLOT: 52,
  /** First of the inode's lock owners, 0 = none. */
  LOCKS: 56,
  HANDLE_TYPE: 60,
  HANDLE_SIZE: 64,
  HANDLE: 68,
  /** Bytes of file handle that fit; larger ones are held by descriptor. ext4 needs 8, xfs 12, btrfs 40, overlay 48. */
  HANDLE_SIZE_MAX: 60,
  SIZE: 128,
} as const;
/** The slot is in the hash: its (dev, ino) can be found. Off once the host reused the number. */
export const INODE_FLAG_HASHED = 1;

/** One open file or directory: slot number = low half of fh. */
export const HANDLE_SLOT = {
  /** 0 = free; otherwise 1 for being open, plus 1 for each request that uses it now. */
  REFERENCES: 0,
  FD: 4,
  NODEID: 8,
  FLAGS: 12,
  /** High half of fh: a stale or forged fh does not find another file. */
  GENERATION: 16,
  NEXT: 20,
  /** Directories: where the descriptor's own position stands, as the cookie it was reached by. */
  CURSOR_LO: 24,
  CURSOR_HI: 28,
  /** The inode that is kept for it; NODEID is 0 once it is being closed. */
  INODE: 32,
  SIZE: 64,
} as const;

/** One owner of POSIX locks on one inode: a descriptor of its own, so that the host tells owners apart (OFD locks). */
export const LOCK_SLOT = {
  OWNER_LO: 0,
  OWNER_HI: 4,
  FD: 8,
  NEXT: 12,
  NODEID: 16,
  /** The lock it waits for (SETLKW): F_RDLCK or F_WRLCK plus one, 0 = it does not wait. */
  WAITS: 20,
  WAIT_START: 24,
  WAIT_END: 32,
  /** Ranges that its locks may have, at most. */
  RANGES: 40,
  /** How many there were when they were last counted. */
  RANGES_COUNTED: 44,
  SIZE: 48,
} as const;

/** One queue, written by its own thread. Doubles count; times are milliseconds since 1970. */
export const QUEUE_RECORD = {
  /** QUEUE_* */
  STATE: 0,
  /** Of the ring. */
  SIZE_: 4,
  EVENT_IDX: 8,
  NEXT_AVAIL: 12,
  NEXT_USED: 16,
  /** Odd while the fields of the request that is being served are written: readers look again. */
  CURRENT_SEQUENCE: 20,
  /** Its opcode plus 1; 0 = the queue is idle. */
  CURRENT_OPCODE: 24,
  /** Requests that were put aside: how many, and odd while they are written. */
  WAITING_SEQUENCE: 28,
  WAITING_COUNT: 32,
  CURRENT_NODEID: 40,
  CURRENT_SINCE: 48,
  /** Wake-ups by the driver; turns in which something was served, and the most in one. */
  KICKS: 56,
  BATCHES: 64,
  BATCH_MAX: 72,
  /** Times the driver was notified, and times it did not want to be. */
  NOTIFICATIONS: 80,
  SUPPRESSED: 88,
  /** The first {@linkcode WAITING_MAX} of them. */
  WAITING: 128,
  SIZE: 2176,
} as const;
export const QUEUE_STOPPED = 0;
export const QUEUE_RUNNING = 1;
export const QUEUE_BROKEN = 2;
/** A request that was put aside. */
export const WAITING_REQUEST = { OPCODE: 0, NODEID: 8, SINCE: 16, UNIQUE: 24, SIZE: 32 } as const;
export const WAITING_MAX = 64;

/** The front end, written by the main thread. Odd SEQUENCE: being written. */
export const CONNECTION = {
  SEQUENCE: 0,
  /** 1 while one is connected. */
  CONNECTED: 4,
  /** How many there have been. */
  COUNT: 8,
  REGION_COUNT: 12,
  /** Virtio features that the driver took, and those of the protocol. */
  FEATURES_LO: 16,
  FEATURES_HI: 20,
  PROTOCOL_LO: 24,
  PROTOCOL_HI: 28,
  /** Double: since when it is connected, or not. */
  SINCE: 32,
  /** The guest's memory: doubles, guest address and bytes. */
  REGIONS: 64,
  REGION_SIZE: 16,
  SIZE: 64 + 512 * 16,
} as const;
export const CONNECTION_REGION_MAX = 512;

/** One mount: a descriptor on it that open_by_handle_at takes. */
export const MOUNT_SLOT = { MOUNT_ID: 0, FD: 4, SIZE: 8 } as const;

/** Where each table starts. The hash is sized for the most inodes; only its first 2^INODE_HASH_BITS words are used. */
export const MOUNT_TABLE_OFFSET = STATE_HEADER.SIZE;
export const LOCK_TABLE_OFFSET = MOUNT_TABLE_OFFSET + MOUNT_COUNT_MAX * MOUNT_SLOT.SIZE;
export const HANDLE_TABLE_OFFSET = LOCK_TABLE_OFFSET + LOCK_OWNER_COUNT_MAX * LOCK_SLOT.SIZE;
export const INODE_HASH_OFFSET = HANDLE_TABLE_OFFSET + HANDLE_COUNT_MAX * HANDLE_SLOT.SIZE;
export const INODE_TABLE_OFFSET = INODE_HASH_OFFSET + INODE_COUNT_MAX * 4;
/** Counters of each queue and opcode, see `counters.ts`. */
export const COUNTERS_OFFSET = INODE_TABLE_OFFSET + INODE_COUNT_MAX * INODE_SLOT.SIZE;
export const COUNTERS_QUEUE_SIZE = 65536;
/** Errors of each queue, by opcode and errno: doubles. */
export const ERRNO_COUNT = 136;
export const ERRNO_COUNTERS_OFFSET = COUNTERS_OFFSET + QUEUE_COUNT_MAX * COUNTERS_QUEUE_SIZE;
export const ERRNO_COUNTERS_QUEUE_SIZE = 65536;
/** What each queue is doing, see {@linkcode QUEUE_RECORD}. */
export const QUEUE_RECORDS_OFFSET = ERRNO_COUNTERS_OFFSET +
  QUEUE_COUNT_MAX * ERRNO_COUNTERS_QUEUE_SIZE;
export const CONNECTION_OFFSET = QUEUE_RECORDS_OFFSET + QUEUE_COUNT_MAX * QUEUE_RECORD.SIZE;
/** JSON, see `description.ts`. */
export const DESCRIPTION_OFFSET = CONNECTION_OFFSET + CONNECTION.SIZE;
export const DESCRIPTION_SIZE_MAX = 16384;
export const MAPPING_NODES_OFFSET = DESCRIPTION_OFFSET + DESCRIPTION_SIZE_MAX;
export const MAPPING_TABLE_OFFSET = MAPPING_NODES_OFFSET +
  IntervalNodes.byteSize(MAPPING_COUNT_MAX);
export const DEMOTION_TABLE_OFFSET = MAPPING_TABLE_OFFSET +
  (MAPPING_COUNT_MAX + 1) * MAPPING_SLOT.SIZE;
export const DAX_INODE_TABLE_OFFSET = DEMOTION_TABLE_OFFSET + DEMOTION_COUNT * DEMOTION.SIZE;
export const DATA_REGION_OFFSET = DAX_INODE_TABLE_OFFSET + INODE_COUNT_MAX * DAX_INODE.SIZE;
/** How many inodes of this daemon use a slot of the version table: a u32 each, for the most slots that a table can have. */
export const VERSION_REFERENCES_OFFSET = DATA_REGION_OFFSET +
  DATA_REGION_COUNT_MAX * DATA_REGION.SIZE;
export const VERSION_SLOT_COUNT_MAX = 1 << 24;
export const STATE_SIZE = VERSION_REFERENCES_OFFSET + VERSION_SLOT_COUNT_MAX * 4;
