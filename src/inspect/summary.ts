/**
 * One daemon in a few words: a line of the list, and `inspect` of one daemon.
 *
 * @module
 */

import {
  CONNECTION,
  CONNECTION_OFFSET,
  HANDLE_COUNT_MAX,
  INODE_COUNT_MAX,
  SESSION_WORDS_AT,
  STATE_HEADER,
} from "../state/layout.ts";
import type { DaemonState } from "./daemon_state.ts";
import { queueCount, queueTotals } from "./ops.ts";
import { sequencedRead } from "./stable_read.ts";
import type { DaemonSummary } from "./snapshot.ts";

/** A count of descriptors: no more than a process can have (fs.nr_open's maximum). */
const DESCRIPTORS_MAX = 0x7fffffff;

/** What the daemon says of itself and how far it has come. */
export function readSummary({ reader, pid, running }: DaemonState): DaemonSummary {
  const { description } = reader;
  const header = reader.header();
  let requests = 0;
  let errors = 0;
  for (let queue = 0; queue < queueCount(reader); queue++) {
    const totals = queueTotals(reader, queue);
    requests += totals.requests;
    errors += totals.errors;
  }
  const connection = readConnection({ reader });
  const session = (offset: number) => header.u32[(STATE_HEADER.SESSION + offset) >>> 2]!;
  return {
    pid,
    version: description.version,
    socket: description.socket,
    sharedDir: description.sharedDir,
    tag: description.tag,
    cache: description.cache,
    dax: description.dax,
    readonly: description.readonly,
    requestQueues: description.requestQueues,
    started: reader.started,
    running,
    connected: connection.connected,
    connectedSince: connection.since,
    connections: connection.count,
    sessionActive: session(SESSION_WORDS_AT.ACTIVE) !== 0,
    fuseMinor: session(SESSION_WORDS_AT.MINOR),
    requests,
    errors,
    inodes: reader.word(header, STATE_HEADER.INODE_USED, INODE_COUNT_MAX, "INODE_USED"),
    inodeDescriptors: reader.word(header, STATE_HEADER.INODE_FDS, INODE_COUNT_MAX, "INODE_FDS"),
    openHandles: reader.word(header, STATE_HEADER.HANDLE_USED, HANDLE_COUNT_MAX, "HANDLE_USED"),
    descriptorLimit: reader.word(header, STATE_HEADER.FD_LIMIT, DESCRIPTORS_MAX, "FD_LIMIT"),
    versionTable: description.versionTable,
  };
}

/** The front end. */
export interface Connection {
  readonly connected: boolean;
  readonly count: number;
  readonly since: number;
  readonly features: bigint;
  readonly protocolFeatures: bigint;
  readonly regions: readonly { readonly guestAddress: number; readonly size: number }[];
}

/** What the daemon's main thread says of the front end, all of one moment. */
export function readConnection({ reader }: Pick<DaemonState, "reader">): Connection {
  const piece = sequencedRead(
    reader,
    "the connection",
    () => reader.read(CONNECTION_OFFSET + CONNECTION.SEQUENCE, 8).u32[0]!,
    () => reader.read(CONNECTION_OFFSET, CONNECTION.SIZE),
  );
  const word = (offset: number) => piece.u32[offset >>> 2]!;
  const wide = (offset: number) => BigInt(word(offset)) | (BigInt(word(offset + 4)) << 32n);
  const most = (CONNECTION.SIZE - CONNECTION.REGIONS) / CONNECTION.REGION_SIZE;
  const regionCount = reader.word(piece, CONNECTION.REGION_COUNT, most, "REGION_COUNT");
  return {
    connected: word(CONNECTION.CONNECTED) !== 0,
    count: word(CONNECTION.COUNT),
    since: reader.count(piece.f64[CONNECTION.SINCE >>> 3]!, "SINCE"),
    features: wide(CONNECTION.FEATURES_LO),
    protocolFeatures: wide(CONNECTION.PROTOCOL_LO),
    regions: Array.from({ length: regionCount }, (_, i) => {
      const at = (CONNECTION.REGIONS + i * CONNECTION.REGION_SIZE) >>> 3;
      return {
        guestAddress: reader.count(piece.f64[at]!, "a region's address"),
        size: reader.count(piece.f64[at + 1]!, "a region's size"),
      };
    }),
  };
}
