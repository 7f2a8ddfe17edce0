/**
 * The demo's guest where no virtual machine is at hand: it connects to a daemon's socket, mounts, reads,
 * writes and lists, as a kernel would, and tells what went over the ring.
 *
 * @module
 */

import type { OpcodeTraffic } from "../guest/client/traffic.ts";
import type { GuestDaxMode } from "../guest/client/dax_mode.ts";
import { Guest } from "../guest/guest.ts";
import type { GuestDaxCounters } from "../guest/dax/dax_window.ts";
import type { GuestTask } from "./sample.ts";

/** How much the demo writes and reads to have something to time: 16 MiB. */
const BIG_SIZE = 16 * 1024 * 1024;
const BIG_NAME = "big.bin";
const STAT_COUNT = 2000;

/** What came of the errand. */
export interface GuestReport {
  /** Whether everything was as it should be; the writing is left for the host to verify. */
  readonly good: boolean;
  /** What went over the ring. */
  readonly traffic: readonly OpcodeTraffic[];
}

/** Does `task` through the daemon at `socketPath` and tells `report` about each step. */
export async function runInProcessGuest(
  socketPath: string,
  tag: string,
  task: GuestTask,
  dax: GuestDaxMode,
  report: (line: string) => void,
): Promise<GuestReport> {
  // Without caches, so that all of it goes over the ring, or through the window.
  await using guest = await Guest.connect({ socketPath, cache: "none", dax });
  report(`device found: tag "${guest.tag}", ${guest.requestQueueCount} request queue(s)`);
  report(`mounted: FUSE ${guest.protocol}`);
  const text = guest.readTextFileSync(task.readName);
  report(`cat ${task.readName}: ${text.trimEnd()}`);
  guest.writeTextFileSync(task.writeName, task.writeText);
  report(`wrote ${task.writeName}`);
  const big = moveBig(guest, report);
  report(
    `stat ${task.readName}, ${STAT_COUNT} times: ${statMicroseconds(guest, task)} µs (median)`,
  );
  const names = [...guest.readDirSync("/")].map(({ name }) => name).sort();
  report(`ls: ${names.join("  ")}`);
  if (guest.dax !== null) reportWindow(guest, guest.dax, report);
  const good = guest.tag === tag && text === task.readText && big &&
    names.includes(task.readName) && names.includes(task.writeName);
  return { good, traffic: guest.traffic };
}

/** What the DAX window was used for. */
function reportWindow(
  { traffic }: Guest,
  { ranges, busy, maps }: GuestDaxCounters,
  report: (line: string) => void,
): void {
  const reads = traffic.find(({ name }) => name === "READ")?.requests ?? 0;
  report(`DAX window: ${ranges} ranges of 2 MiB, ${busy} in use; ${maps} mappings, ${reads} READs`);
}

/** Each is a LOOKUP and a GETATTR. */
function statMicroseconds(guest: Guest, task: GuestTask): string {
  const times = new Float64Array(STAT_COUNT);
  for (let i = 0; i < STAT_COUNT; i++) {
    const start = performance.now();
    guest.statSync(task.readName);
    times[i] = (performance.now() - start) * 1000;
  }
  return times.sort()[STAT_COUNT / 2]!.toFixed(0);
}

/** Writes a file and reads it back. */
function moveBig(guest: Guest, report: (line: string) => void): boolean {
  const bytes = new Uint8Array(BIG_SIZE);
  for (let i = 0; i < bytes.length; i += 4096) bytes[i] = i / 4096;
  const start = performance.now();
  guest.writeFileSync(BIG_NAME, bytes);
  const written = performance.now();
  const back = guest.readFileSync(BIG_NAME);
  const read = performance.now();
  guest.removeSync(BIG_NAME);
  const rate = (ms: number) => `${(BIG_SIZE / 1024 / 1024 / ms * 1000).toFixed(0)} MiB/s`;
  report(
    `${BIG_NAME}: 16 MiB written at ${rate(written - start)}, read at ${rate(read - written)}`,
  );
  return back.length === bytes.length && back.every((byte, i) => byte === bytes[i]);
}
