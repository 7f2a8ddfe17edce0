/**
 * The mmap table of the 2018 RFC: pages of a mapped file touched in order and at random, as page faults of a
 * guest's kernel fetch them. Without a DAX window a fault goes through the guest's page cache.
 *
 * @module
 */

import type { OpenFile } from "../guest/vfs/open_file.ts";
import { onDataFile } from "./data_file.ts";
import { DATA_FILE_SIZE, type Place } from "./place.ts";
import type { Row, Samples } from "./row.ts";

const PAGE_SIZE = 4096;
const PAGE_COUNT = DATA_FILE_SIZE / PAGE_SIZE;

/** The rows. */
export const MAPPING_ROWS: readonly Row[] = [
  touching("mmap sequential read", false, false),
  touching("mmap random read", true, false),
  touching("mmap sequential write", false, true),
  touching("mmap random write", true, true),
];

/** One pass over some pages with cold caches, msync at the end of writes. A sample is a page's share. */
function touching(name: string, random: boolean, writing: boolean): Row {
  return {
    name,
    unit: "µs",
    bytesPerOperation: PAGE_SIZE,
    run(place, milliseconds) {
      return onMappedFile(place, (file) => {
        const data = place.session.volume.dataOf(file.inode);
        let seed = 54321;
        let count = 0;
        let sum = 0;
        data.invalidate();
        const start = performance.now();
        do {
          for (let i = 0; i < 64; i++, count++) {
            seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
            const index = (random ? seed : count) % PAGE_COUNT;
            const page = data.page(file, index);
            if (typeof page === "number") throw new Error(`${name}: a page failed (${page})`);
            if (writing) {
              page.bytes[page.offset] = count;
              data.markDirty(page);
            } else sum += page.bytes[page.offset]!;
            data.unpin(page);
          }
        } while (performance.now() - start < milliseconds && count < PAGE_COUNT);
        if (writing) place.must(data.flush(), "msync");
        const spent = performance.now() - start;
        // The bytes were looked at.
        if (!writing && sum === 0) throw new Error(`${name}: nothing was read`);
        return { samples: [spent * 1000 / count], perSecond: count * 1000 / spent };
      });
    },
  };
}

function onMappedFile(place: Place, act: (file: OpenFile) => Samples): Samples {
  return onDataFile(place, (calls, fd) => act(calls.descriptors.get(fd)!));
}
