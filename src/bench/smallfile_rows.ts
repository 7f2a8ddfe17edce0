/**
 * The small-file table of the 2018 RFC: create, ls -l, read, append, rename and delete of 1 KiB files by 8
 * workers, each in its own directory with one request in flight.
 *
 * The requests are those that a Linux guest sends with cold caches.
 *
 * @module
 */

import { beginWrite, type Handle } from "../guest/client/files.ts";
import type { FuseRequest } from "../guest/client/fuse_request.ts";
import { EntryReply, OpenReply } from "../guest/client/replies.ts";
import {
  CREATE_IN,
  ENTRY_OUT,
  Opcode,
  OPEN_IN,
  OPEN_OUT,
  READ_IN,
  RELEASE_IN,
  RENAME_IN,
  WRITE_OUT,
} from "../wire/fuse.ts";
import { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY, S_IFREG } from "../wire/linux.ts";
import { nameBytes, type Place } from "./place.ts";
import type { Row, Samples } from "./row.ts";

const WORKER_COUNT = 8;
const FILES_PER_WORKER = 128;
const FILE_SIZE = 1024;

/** One worker at work: each `yield` sends a request and comes back with it when its reply is there. */
type Script = Generator<FuseRequest, void, void>;
type Step = (place: Place, directory: number, buffer: number) => Script;

/** The rows, in the order in which they must run: each needs what the one before has left. */
export const SMALLFILE_ROWS: readonly Row[] = [
  workers("small files: create", createAll, true),
  workers("small files: ls -l", listAll),
  workers("small files: read", readAll),
  workers("small files: append", appendAll),
  workers("small files: rename", renameAll),
  workers("small files: delete", deleteAll),
];

/** The workers' directories by place, from the first row to the last. */
const directories = new WeakMap<Place, number[]>();

function workers(name: string, step: Step, first = false): Row {
  return {
    name,
    unit: "µs",
    run(place) {
      let own = directories.get(place);
      if (first || own === undefined) {
        own = Array.from({ length: WORKER_COUNT }, (_, i) => {
          return place.makeDirectory(place.directory, `worker-${i}`);
        });
        directories.set(place, own);
      }
      const samples = runAll(
        place,
        own.map((directory, i) => {
          return step(place, directory, place.buffer + i * 4096);
        }),
      );
      if (step === deleteAll) removeDirectories(place, own);
      return samples;
    },
  };
}

/** Runs scripts side by side. A sample is a file's share of the time. */
function runAll(place: Place, scripts: readonly Script[]): Samples {
  const { client } = place;
  const start = performance.now();
  let running = 0;
  const ready: Script[] = [...scripts];
  const owner = new Map<FuseRequest, Script>();
  const done = (request: FuseRequest, status: number): void => {
    ready.push(owner.get(request)!);
    owner.delete(request);
    place.must(status === NOT_THERE && request.opcode === Opcode.LOOKUP ? 0 : status, "A request");
  };
  do {
    for (const script of ready.splice(0)) {
      const { value, done: ended } = script.next();
      if (ended === true) continue;
      running++;
      owner.set(value, script);
      client.postThen(value, done);
    }
    client.driver.publish();
    if (owner.size > 0 && ready.length === 0) client.progress();
    running = owner.size + ready.length;
  } while (running > 0);
  const spent = performance.now() - start;
  const files = WORKER_COUNT * FILES_PER_WORKER;
  return { samples: [spent * 1000 / files], perSecond: files * 1000 / spent };
}

/** -ENOENT: what LOOKUP says before a file is made. */
const NOT_THERE = -2;

function* createAll(place: Place, directory: number, buffer: number): Script {
  for (let i = 0; i < FILES_PER_WORKER; i++) {
    const name = nameBytes(`file-${i}`);
    yield* lookup(place, directory, name, new EntryReply());
    const entry = new EntryReply();
    const opened = new OpenReply();
    const flags = O_CREAT | O_EXCL | O_WRONLY;
    const request = place.client.begin(Opcode.CREATE, directory, CREATE_IN.SIZE);
    request.setU32(CREATE_IN.FLAGS, flags);
    request.setU32(CREATE_IN.MODE, S_IFREG | 0o644);
    request.putName(name);
    request.expect(ENTRY_OUT.SIZE + OPEN_OUT.SIZE);
    yield request;
    entry.read(request.bytes, request.body);
    opened.read(request.bytes, request.body + ENTRY_OUT.SIZE);
    place.client.end(request);
    const handle = { ...opened, flags };
    yield* write(place, entry.nodeid, handle, 0, buffer);
    yield* close(place, entry.nodeid, handle, false);
    place.client.forget(entry.nodeid, 1);
  }
}

function* listAll(place: Place, directory: number): Script {
  const handle = yield* openNode(place, directory, Opcode.OPENDIR, O_RDONLY);
  const entry = new EntryReply();
  for (let low = 0, high = 0;;) {
    const request = place.client.begin(Opcode.READDIRPLUS, directory, READ_IN.SIZE);
    request.setHalves(READ_IN.FH, handle.fhLow, handle.fhHigh);
    request.setHalves(READ_IN.OFFSET, low, high);
    request.setU32(READ_IN.SIZE_, LIST_SIZE);
    request.expectUpTo(LIST_SIZE);
    yield request;
    const size = request.replySize;
    for (let at = 0; at < size;) {
      entry.read(request.bytes, request.body + at);
      const nameSize = request.u32(at + 128 + 16);
      low = request.u32(at + 128 + 8);
      high = request.u32(at + 128 + 12);
      const dots = request.bytes.u8[request.body + at + 152] === 0x2e;
      if (entry.nodeid !== 0 && !dots) place.client.forget(entry.nodeid, 1);
      at += Math.ceil((152 + nameSize) / 8) * 8;
    }
    place.client.end(request);
    if (size === 0) break;
  }
  yield* close(place, directory, handle, true);
}

const LIST_SIZE = 32768;

function* readAll(place: Place, directory: number, buffer: number): Script {
  const entry = new EntryReply();
  for (let i = 0; i < FILES_PER_WORKER; i++) {
    yield* lookup(place, directory, nameBytes(`file-${i}`), entry);
    const { nodeid } = entry;
    const handle = yield* openNode(place, nodeid, Opcode.OPEN, O_RDONLY);
    const request = place.client.begin(Opcode.READ, nodeid, READ_IN.SIZE);
    request.setHalves(READ_IN.FH, handle.fhLow, handle.fhHigh);
    request.setU32(READ_IN.SIZE_, 4096);
    request.expectUpTo(0);
    request.addRoom(buffer, 4096);
    yield request;
    place.client.end(request);
    yield* close(place, nodeid, handle, false);
    place.client.forget(nodeid, 1);
  }
}

function* appendAll(place: Place, directory: number, buffer: number): Script {
  const entry = new EntryReply();
  for (let i = 0; i < FILES_PER_WORKER; i++) {
    yield* lookup(place, directory, nameBytes(`file-${i}`), entry);
    const { nodeid } = entry;
    const handle = yield* openNode(place, nodeid, Opcode.OPEN, O_RDWR);
    yield* write(place, nodeid, handle, FILE_SIZE, buffer);
    yield* close(place, nodeid, handle, false);
    place.client.forget(nodeid, 1);
  }
}

function* renameAll(place: Place, directory: number): Script {
  for (let i = 0; i < FILES_PER_WORKER; i++) {
    const request = place.client.begin(Opcode.RENAME, directory, RENAME_IN.SIZE);
    request.setU64(RENAME_IN.NEWDIR, directory);
    request.putName(nameBytes(`file-${i}`));
    request.putName(nameBytes(`renamed-${i}`));
    request.expect(0);
    yield request;
    place.client.end(request);
  }
}

function* deleteAll(place: Place, directory: number): Script {
  for (let i = 0; i < FILES_PER_WORKER; i++) {
    const request = place.client.begin(Opcode.UNLINK, directory, 0);
    request.putName(nameBytes(`renamed-${i}`));
    request.expect(0);
    yield request;
    place.client.end(request);
  }
}

function* lookup(
  place: Place,
  directory: number,
  name: Uint8Array,
  entry: EntryReply,
): Script {
  const request = place.client.begin(Opcode.LOOKUP, directory, 0);
  request.putName(name);
  request.expect(ENTRY_OUT.SIZE);
  yield request;
  if (request.replySize > 0) entry.read(request.bytes, request.body);
  place.client.end(request);
}

function* openNode(
  place: Place,
  nodeid: number,
  opcode: number,
  flags: number,
): Generator<FuseRequest, Handle, void> {
  const request = place.client.begin(opcode, nodeid, OPEN_IN.SIZE);
  request.setU32(OPEN_IN.FLAGS, flags);
  request.expect(OPEN_OUT.SIZE);
  yield request;
  const opened = new OpenReply();
  opened.read(request.bytes, request.body);
  place.client.end(request);
  return { ...opened, flags };
}

function* write(
  place: Place,
  nodeid: number,
  handle: Handle,
  offset: number,
  buffer: number,
): Script {
  const request = beginWrite(place.client, nodeid, handle, offset, FILE_SIZE, 0, null);
  request.addData(buffer, FILE_SIZE);
  request.expect(WRITE_OUT.SIZE);
  yield request;
  place.client.end(request);
}

function* close(place: Place, nodeid: number, handle: Handle, directory: boolean): Script {
  const opcode = directory ? Opcode.RELEASEDIR : Opcode.RELEASE;
  const request = place.client.begin(opcode, nodeid, RELEASE_IN.SIZE);
  request.setHalves(RELEASE_IN.FH, handle.fhLow, handle.fhHigh);
  request.setU32(RELEASE_IN.FLAGS, handle.flags);
  request.expect(0);
  yield request;
  place.client.end(request);
}

function removeDirectories(place: Place, own: readonly number[]): void {
  own.forEach((_, i) => {
    const request = place.client.begin(Opcode.RMDIR, place.directory, 0);
    request.putName(nameBytes(`worker-${i}`));
    place.must(place.client.callPlain(request), "RMDIR");
  });
  directories.delete(place);
}
