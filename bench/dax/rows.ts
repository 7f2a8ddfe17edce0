/**
 * Rows that show what a DAX window is good for, and what it costs.
 *
 * @module
 */

import { onDataFile } from "../../src/bench/data_file.ts";
import { DATA_FILE_SIZE } from "../../src/bench/place.ts";
import type { Row, Samples } from "../../src/bench/row.ts";
import type { GuestCalls } from "../../src/guest/vfs/calls.ts";

const PAGE_SIZE = 4096;
const PAGE_COUNT = DATA_FILE_SIZE / PAGE_SIZE;
const MIB = 1024 * 1024;
/** Operations of one sample. */
const BATCH = 64;

/** 4 KiB at random places with read(2) and write(2), after everything has been touched once. */
export const ESTABLISHED_ROWS: readonly Row[] = [
  established("read 4 KiB, established", (calls, fd, bytes, at) => calls.pread(fd, bytes, at)),
  established("write 4 KiB, established", (calls, fd, bytes, at) => calls.pwrite(fd, bytes, at)),
];

/** One SETUPMAPPING: into a free range, and in place of a mapping of the same file. Only for guests with a window. */
export const REMAP_ROWS: readonly Row[] = [remap("map a free range", false), remap("remap", true)];

/** The whole file in order, and 4 KiB of it at random, with nothing cached in the beginning. */
export const SCAN_ROWS: readonly Row[] = [{
  name: "read all in order, 1 MiB each",
  unit: "µs",
  bytesPerOperation: MIB,
  run: (place) =>
    onDataFile(place, (calls, fd) => {
      calls.volume.dataOf(calls.descriptors.get(fd)!.inode).invalidate();
      const bytes = new Uint8Array(MIB);
      return timed(() => {
        const count = DATA_FILE_SIZE / MIB;
        for (let i = 0; i < count; i++) place.must(calls.pread(fd, bytes, i * MIB), "read");
        return count;
      });
    }),
}];

/** See {@linkcode SCAN_ROWS}. */
export const RANDOM_ROWS: readonly Row[] = [{
  name: "read 4 KiB at random",
  unit: "µs",
  bytesPerOperation: PAGE_SIZE,
  run: (place, milliseconds) =>
    onDataFile(place, (calls, fd) => {
      calls.volume.dataOf(calls.descriptors.get(fd)!.inode).invalidate();
      const bytes = new Uint8Array(PAGE_SIZE);
      const next = pages();
      return timed(() => {
        const end = performance.now() + milliseconds;
        let count = 0;
        do {
          for (let i = 0; i < BATCH; i++, count++) {
            place.must(calls.pread(fd, bytes, next() * PAGE_SIZE), "read");
          }
        } while (performance.now() < end);
        return count;
      });
    }),
}];

function established(
  name: string,
  act: (calls: GuestCalls, fd: number, bytes: Uint8Array, at: number) => number,
): Row {
  return {
    name,
    unit: "µs",
    bytesPerOperation: PAGE_SIZE,
    run: (place, milliseconds) =>
      onDataFile(place, (calls, fd) => {
        const bytes = new Uint8Array(PAGE_SIZE);
        for (let i = 0; i < PAGE_COUNT; i++) {
          place.must(calls.pread(fd, bytes, i * PAGE_SIZE), name);
        }
        const next = pages();
        const samples: number[] = [];
        const start = performance.now();
        let then = start;
        do {
          for (let i = 0; i < BATCH; i++) {
            place.must(act(calls, fd, bytes, next() * PAGE_SIZE), name);
          }
          const now = performance.now();
          samples.push((now - then) * 1000 / BATCH);
          then = now;
        } while (then - start < milliseconds);
        return { samples, perSecond: samples.length * BATCH * 1000 / (then - start) };
      }),
  };
}

function remap(name: string, over: boolean): Row {
  return {
    name,
    unit: "µs",
    oneProcessor: true,
    run: (place, milliseconds) =>
      onDataFile(place, (calls, fd) => {
        const { ranges } = place.session.volume.dax!;
        const { inode } = calls.descriptors.get(fd)!;
        calls.volume.dataOf(inode).invalidate();
        const file = ranges.addFile(inode.nodeid);
        const rangesOfFile = DATA_FILE_SIZE / ranges.rangeSize;
        // One mapping stays, as of any file in use: the daemon keeps the file open for it.
        const first = place.must(ranges.acquire(file, 0, true), name);
        const samples: number[] = [];
        const map = (offset: number): void => {
          const start = performance.now();
          const range = place.must(ranges.acquire(file, offset, true), name);
          samples.push((performance.now() - start) * 1000);
          ranges.release(range);
        };
        if (over) {
          for (let i = 1; i < ranges.rangeCount; i++) map(i * ranges.rangeSize);
          samples.length = 0;
        }
        const start = performance.now();
        for (let i = ranges.rangeCount; performance.now() - start < milliseconds; i++) {
          // Round and round through more ranges of the file than the window has.
          map((1 + i % (rangesOfFile - 1)) * ranges.rangeSize);
          if (!over) ranges.remove(file);
        }
        ranges.release(first);
        ranges.remove(file);
        return { samples, perSecond: 1e6 * samples.length / samples.reduce((a, b) => a + b, 0) };
      }),
  };
}

function timed(act: () => number): Samples {
  const start = performance.now();
  const count = act();
  const spent = performance.now() - start;
  return { samples: [spent * 1000 / count], perSecond: count * 1000 / spent };
}

/** Pages of the file at random, the same ones each time. */
function pages(): () => number {
  let seed = 54321;
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed >>> 8) % PAGE_COUNT;
  };
}
