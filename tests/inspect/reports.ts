/**
 * Made-up views, with names that need care.
 *
 * @module
 */

import type { DaemonReport, Report } from "../../src/inspect/report.ts";
import type {
  MappingRow,
  OpcodeRow,
  VersionsView,
  WindowView,
} from "../../src/inspect/snapshot.ts";

/** 2026-11-26 00:00:00 UTC. */
export const NOW = 1_795_651_200_000;
const RANGE = 2 * 1024 ** 2;

/** A mapping of whole ranges. */
export function mapping(first: number, count: number, more: Partial<MappingRow> = {}): MappingRow {
  return {
    start: first * RANGE,
    end: (first + count) * RANGE,
    nodeid: 2,
    path: "/a",
    fileOffset: 0,
    writable: false,
    state: "live",
    since: NOW - 500,
    ...more,
  };
}

/** A window of `ranges` ranges of 2 MiB. */
export function windowView(ranges: number, mappings: readonly MappingRow[]): WindowView {
  const used = mappings.reduce((sum, { start, end }) => sum + (end - start) / RANGE, 0);
  return {
    size: ranges * RANGE,
    rangeSize: RANGE,
    rangesUsed: used,
    rangesFree: ranges - used,
    mappings,
    maps: 7,
    unmaps: 3,
    remaps: 2,
    refusals: 1,
    demotions: 0,
  };
}

function opcode(name: string, number: number, more: Partial<OpcodeRow> = {}): OpcodeRow {
  return {
    queue: 1,
    opcode: number,
    name,
    requests: 6,
    errors: 0,
    errnos: {},
    bytesIn: 600,
    bytesOut: 1200,
    totalNs: 30_000,
    maxNs: 9000,
    medianNs: 4000,
    p99Ns: 9000,
    histogram: [[512, 1], [1024, 2], [4096, 2], [8192, 1]],
    ...more,
  };
}

/** A daemon with one of everything. */
export function daemonReport(pid = 4711): DaemonReport {
  return {
    summary: {
      pid,
      version: "0.1.0",
      socket: `/run/vm "1"\\x\n${pid}.sock`,
      sharedDir: "/srv/<share> & more",
      tag: "data",
      cache: "shared",
      dax: "auto",
      readonly: false,
      requestQueues: 1,
      started: NOW - 90_000,
      running: true,
      connected: true,
      connectedSince: NOW - 60_000,
      connections: 2,
      sessionActive: true,
      fuseMinor: 38,
      requests: 12,
      errors: 3,
      inodes: 5,
      inodeDescriptors: 4,
      openHandles: 1,
      descriptorLimit: 1024,
      versionTable: "/dev/shm/versions",
    },
    ops: {
      rows: [
        opcode("LOOKUP", 1, { errors: 3, errnos: { ENOENT: 2, EACCES: 1 } }),
        opcode("READ", 15, { requests: 6, bytesOut: 2 ** 40 }),
      ],
    },
    queues: {
      rows: [{
        ...{ queue: 1, kind: "request", state: "running", size: 1024, eventIdx: true },
        ...{ nextAvail: 12, nextUsed: 11, kicks: 4, notifications: 9, suppressed: 2 },
        ...{ batches: 5, batchMax: 4, requests: 12 },
        outstanding: [
          { opcode: 33, name: "SETLKW", nodeid: 2, since: NOW - 2500, state: "waiting" },
        ],
      }],
      features: ["VIRTIO_F_VERSION_1"],
      protocolFeatures: ["MQ", "SHMEM"],
      fuseFlags: ["DO_READDIRPLUS"],
      regions: [{ guestAddress: 0, size: 2 ** 30 }],
    },
    window: windowView(256, [
      mapping(0, 2),
      mapping(2, 1, { nodeid: 9, path: "/<script>alert(1)</script>", since: NOW - 5000 }),
    ]),
    inodes: {
      rows: [{
        ...{ nodeid: 2, generation: 1, path: "/a", device: "0:30", ino: "77", mode: 0o100644 },
        ...{ lookups: 3, openHandles: 1, heldBy: "descriptor", descriptor: 21 },
        ...{ versionSlot: 5, dax: true, mappings: 1 },
      }],
      total: 5,
      descriptors: 4,
      descriptorLimit: 1024,
      openHandles: 1,
      handlesOff: "EPERM",
    },
  };
}

/** A version table that two daemons used, of which one is dead. */
export function versionsView(): VersionsView {
  return {
    path: "/dev/shm/versions",
    slotCount: 1024,
    used: 1,
    free: 1022,
    refusals: 0,
    sweeps: 1,
    owners: [
      { owner: 0, pid: 4711, since: NOW - 90_000, alive: true, slots: 1 },
      { owner: 1, pid: 4712, since: NOW - 80_000, alive: false, slots: 1 },
    ],
    rows: [{
      ...{ slot: 5, value: "18446744073709551615", changes: 3, inProgress: 0 },
      ...{ device: "0:30", ino: "77", path: "/a", owners: [0, 1] },
    }],
  };
}

/** Two daemons and their table. */
export function report(): Report {
  return {
    taken: NOW,
    daemons: [daemonReport(), daemonReport(4712)],
    versions: [versionsView()],
    refused: ["the state of process 7 is damaged"],
  };
}
