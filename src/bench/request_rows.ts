/**
 * Rows that time single requests.
 *
 * @module
 */

import { getattr } from "../guest/client/attributes.ts";
import { readdir } from "../guest/client/directories.ts";
import { beginRead, beginWrite, fsync, type Handle, open, release } from "../guest/client/files.ts";
import type { FuseRequest } from "../guest/client/fuse_request.ts";
import { lookup, unlink } from "../guest/client/names.ts";
import { create } from "../guest/client/nodes.ts";
import { WRITE_OUT } from "../wire/fuse.ts";
import { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, S_IFREG } from "../wire/linux.ts";
import { DATA_FILE_SIZE, LISTED_COUNT, nameBytes, type Place } from "./place.ts";
import type { Row, Samples } from "./row.ts";

/** An opcode that no daemon knows: it is answered with ENOSYS, and no file system takes part. */
const UNKNOWN_OPCODE = 4095;
const PIECE_SIZE = 4096;
const MIB = 1024 * 1024;
/** Requests in flight of a sequential transfer: the next while one is under way. */
const SEQUENTIAL_DEPTH = 2;

const NAMES = Array.from({ length: LISTED_COUNT }, (_, i) => nameBytes(`name-${i}`));

/** The rows, in the table's order. */
export const REQUEST_ROWS: readonly Row[] = [
  single("null round trip", (place) => {
    const request = place.client.begin(UNKNOWN_OPCODE, 1, 0);
    request.expect(0);
    place.client.call(request);
    place.client.end(request);
  }),
  single("lookup", (place, i) => {
    const name = NAMES[i % NAMES.length]!;
    place.must(lookup(place.client, place.listed, name, place.entry), "LOOKUP");
  }, (place) => {
    for (const name of NAMES) {
      // One reference of each is kept, as in a guest that has seen them.
      place.must(lookup(place.client, place.listed, name, place.entry), "LOOKUP");
    }
  }),
  single("getattr", (place) => {
    place.must(getattr(place.client, place.dataFile, null, place.attr), "GETATTR");
  }),
  single(
    "create",
    (place, i) => {
      const name = { parent: place.directory, groupId: 0, name: nameBytes(`new-${i}`) };
      const flags = O_CREAT | O_EXCL | O_RDWR;
      const { client, entry, opened } = place;
      place.must(create(client, name, flags, S_IFREG | 0o644, entry, opened), "CREATE");
    },
    undefined,
    (place, i) => {
      const { client, entry, opened } = place;
      release(client, entry.nodeid, { ...opened, flags: O_RDWR }, false, null);
      unlink(client, place.directory, nameBytes(`new-${i}`));
      client.forget(entry.nodeid, 1);
    },
  ),
  {
    name: `readdirplus of ${LISTED_COUNT}`,
    unit: "µs",
    oneProcessor: true,
    run(place, milliseconds) {
      return timed(milliseconds, () => listAll(place), (nodes) => forgetAll(place, nodes));
    },
  },
  reads("4 KiB random read, depth 1", 1),
  reads("4 KiB random read, depth 16", 16),
  reads("4 KiB random read, depth 64", 64),
  sequential("1 MiB sequential read", false),
  sequential("1 MiB sequential write", true),
  single(
    "fsync",
    (place) => {
      const { client, dataFile, dataHandle } = place;
      place.must(fsync(client, dataFile, dataHandle, false, false), "FSYNC");
    },
    undefined,
    (place, i) => {
      // So that the next one has something to do.
      const offset = (i % 1024) * PIECE_SIZE;
      const request = beginWrite(
        place.client,
        place.dataFile,
        place.dataHandle,
        offset,
        PIECE_SIZE,
        0,
        null,
      );
      request.addData(place.buffer, PIECE_SIZE);
      request.expect(WRITE_OUT.SIZE);
      place.must(place.client.call(request), "WRITE");
      place.client.end(request);
    },
  ),
];

/** A row whose operation is one request at a time; `after` is not timed. */
function single(
  name: string,
  act: (place: Place, index: number) => void,
  before?: (place: Place) => void,
  after?: (place: Place, index: number) => void,
): Row {
  return {
    name,
    unit: "µs",
    oneProcessor: true,
    run(place, milliseconds) {
      before?.(place);
      let index = 0;
      return timed(
        milliseconds,
        () => act(place, index),
        () => {
          after?.(place, index);
          index++;
        },
      );
    },
  };
}

/** Repeats an operation for some time and returns microseconds of each. */
function timed<T>(milliseconds: number, act: () => T, after: (result: T) => void): Samples {
  const samples: number[] = [];
  const end = performance.now() + milliseconds;
  let spent = 0;
  do {
    const start = performance.now();
    const result = act();
    const took = performance.now() - start;
    samples.push(took * 1000);
    spent += took;
    after(result);
  } while (performance.now() < end);
  return { samples, perSecond: samples.length * 1000 / spent };
}

function listAll(place: Place): Map<number, number> {
  const { client, listed } = place;
  const nodes = new Map<number, number>();
  const handle = openDirectory(place);
  let cookie: readonly [number, number] = [0, 0];
  for (let count = -1; count !== 0;) {
    count = readdir(client, listed, handle, cookie, true, (dirent) => {
      cookie = [dirent.nextLow, dirent.nextHigh];
      const node = dirent.entry?.nodeid;
      if (node === undefined || dirent.name[0] === 0x2e) return;
      nodes.set(node, (nodes.get(node) ?? 0) + 1);
    });
    place.must(count, "READDIRPLUS");
  }
  release(client, listed, handle, true, null);
  return nodes;
}

function openDirectory(place: Place): Handle {
  place.must(open(place.client, place.listed, O_RDONLY, true, false, place.opened), "OPENDIR");
  return { ...place.opened, flags: O_RDONLY };
}

function forgetAll(place: Place, nodes: Map<number, number>): void {
  for (const [node, count] of nodes) place.client.forget(node, count);
}

/** Random reads with `depth` requests in flight: a sample is one request from sending to its reply. */
function reads(name: string, depth: number): Row {
  return {
    name,
    unit: "µs",
    oneProcessor: depth === 1,
    run(place, milliseconds) {
      const { client } = place;
      const samples: number[] = [];
      const start = performance.now();
      const end = start + milliseconds;
      let seed = 12345;
      let inFlight = 0;
      const send = (at: number): void => {
        // A linear congruential generator: the same places for every daemon.
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        const offset = (seed % (DATA_FILE_SIZE / PIECE_SIZE)) * PIECE_SIZE;
        const request = beginRead(
          client,
          place.dataFile,
          place.dataHandle,
          offset,
          PIECE_SIZE,
          null,
        );
        request.addRoom(at, PIECE_SIZE);
        inFlight++;
        client.postThen(request, done);
      };
      const free: number[] = [];
      const done = (request: FuseRequest, status: number): void => {
        samples.push((performance.now() - request.sentAt) * 1000);
        client.end(request);
        inFlight--;
        free.push(free.length);
        place.must(status, "READ");
      };
      for (let i = 0; i < depth; i++) send(place.buffer + i * PIECE_SIZE);
      client.driver.publish();
      while (inFlight > 0) {
        client.progress();
        const again = performance.now() < end ? free.length : 0;
        // Which piece of the buffer a reply came into does not matter: nobody looks at it.
        for (let i = 0; i < again; i++) send(place.buffer + i * PIECE_SIZE);
        free.length = 0;
        client.driver.publish();
      }
      const spent = performance.now() - start;
      return { samples, perSecond: samples.length * 1000 / spent };
    },
  };
}

/** Whole passes over the file in requests of 1 MiB. A sample is one request's share of a pass. */
function sequential(name: string, writing: boolean): Row {
  return {
    name,
    unit: "µs",
    bytesPerOperation: MIB,
    run(place, milliseconds) {
      const { client, dataFile, dataHandle } = place;
      const { readSizeMax, writeSizeMax } = client.agreement;
      const size = Math.min(MIB, writing ? writeSizeMax : readSizeMax);
      const samples: number[] = [];
      const start = performance.now();
      do {
        const passStart = performance.now();
        const sent: FuseRequest[] = [];
        const finish = () => {
          const request = sent.shift()!;
          const status = client.wait(request);
          client.end(request);
          place.must(status, writing ? "WRITE" : "READ");
        };
        for (let at = 0; at < DATA_FILE_SIZE; at += size) {
          const request = writing
            ? beginWrite(client, dataFile, dataHandle, at, size, 0, null)
            : beginRead(client, dataFile, dataHandle, at, size, null);
          if (writing) {
            request.addData(place.buffer, size);
            request.expect(WRITE_OUT.SIZE);
          } else request.addRoom(place.buffer + (sent.length % SEQUENTIAL_DEPTH) * MIB, size);
          client.post(request);
          client.driver.publish();
          sent.push(request);
          if (sent.length === SEQUENTIAL_DEPTH) finish();
        }
        while (sent.length > 0) finish();
        const share = (performance.now() - passStart) * 1000 / (DATA_FILE_SIZE / MIB);
        samples.push(share);
      } while (performance.now() - start < milliseconds);
      const operations = samples.length * DATA_FILE_SIZE / MIB;
      return { samples, perSecond: operations * 1000 / (performance.now() - start) };
    },
  };
}
