/**
 * What a request costs the JavaScript heap (nothing, in steady state), and the processor.
 *
 *     deno task bench:heap [COUNT]
 *
 * The young generation is made larger than all that could be allocated, so that nothing is collected
 * while it is counted: growth of the heap is what was allocated. The last row allocates on purpose, to show that the
 * measurement sees it.
 *
 * @module
 */

import process from "node:process";
import { InProcessQueue } from "./in_process_queue.ts";
import {
  CREATE_IN,
  ENTRY_OUT,
  FORGET_IN,
  FUSE_ROOT_ID,
  GETATTR_IN,
  Opcode,
  OPEN_IN,
  OPEN_OUT,
  READ_IN,
  RELEASE_IN,
  WRITE_IN,
} from "../../src/wire/fuse.ts";

const COUNT = Number(Deno.args[0] ?? 1_000_000);
const WARM_UP = 50_000;
/** More than this per request is garbage; a few bytes are the counting itself. */
const BYTES_MAX = 1;
/** An offset that is no small integer is boxed on its way to the system call. */
const FAR_BYTES_MAX = 64;
const SMALL = 4096;
const O_RDWR = 2;
const O_CREAT = 0o100;

const { gc } = globalThis as unknown as { gc?: () => void };
if (gc === undefined) {
  console.error(
    "Run this with --v8-flags=--expose-gc,--min-semi-space-size=1024 (deno task bench:heap)",
  );
  Deno.exit(2);
}

interface Cost {
  readonly bytes: number;
  readonly nanoseconds: number;
  readonly systemShare: number;
}

function measure(step: () => void, requests: number): Cost {
  for (let i = 0; i < WARM_UP; i++) step();
  gc!();
  const usage = process.cpuUsage();
  const start = performance.now();
  const before = Deno.memoryUsage().heapUsed;
  for (let i = 0; i < COUNT; i++) step();
  const after = Deno.memoryUsage().heapUsed;
  const milliseconds = performance.now() - start;
  const { user, system } = process.cpuUsage(usage);
  return {
    bytes: (after - before) / COUNT / requests,
    nanoseconds: milliseconds * 1e6 / COUNT / requests,
    systemShare: system / (user + system),
  };
}

let kept: unknown = null;

/** Measures and prints one row; true if it is as it must be. */
function row(what: string, requests: number, step: () => void, bytesMax = BYTES_MAX): boolean {
  const { bytes, nanoseconds, systemShare } = measure(step, requests);
  const ok = bytes <= bytesMax;
  print(what, ok, bytes, nanoseconds, systemShare);
  return ok;
}

function print(
  what: string,
  ok: boolean,
  bytes: number,
  nanoseconds: number,
  systemShare: number,
): void {
  console.log(
    `${ok ? "ok  " : "FAIL"} ${what.padEnd(36)} ${bytes.toFixed(3).padStart(9)} B/request ` +
      `${nanoseconds.toFixed(0).padStart(6)} ns ${
        (systemShare * 100).toFixed(0).padStart(3)
      } % in the kernel`,
  );
}

/** Requests of one open file, all with its handle. */
function fileRows(queue: InProcessQueue, nodeid: number): boolean[] {
  const open = queue.prepare(Opcode.OPEN, nodeid, OPEN_IN.SIZE);
  open.body.setUint32(OPEN_IN.FLAGS, O_RDWR, true);
  open.sendChecked();
  const fh = open.reply.getBigUint64(OPEN_OUT.FH, true);
  const read = queue.prepare(Opcode.READ, nodeid, READ_IN.SIZE, { replySize: SMALL });
  read.body.setBigUint64(READ_IN.FH, fh, true);
  read.body.setUint32(READ_IN.SIZE_, SMALL, true);
  const write = queue.prepare(Opcode.WRITE, nodeid, WRITE_IN.SIZE, { dataSize: SMALL });
  write.body.setBigUint64(WRITE_IN.FH, fh, true);
  write.body.setUint32(WRITE_IN.SIZE_, SMALL, true);
  const results = [
    row("READ 4 KiB", 1, read.sendChecked),
    row("WRITE 4 KiB", 1, write.sendChecked),
  ];
  // The file is sparse and longer than that; 3 GiB needs more than 31 bits.
  read.body.setBigUint64(READ_IN.OFFSET, 3n << 30n, true);
  results.push(row("READ 4 KiB at 3 GiB", 1, read.sendChecked, FAR_BYTES_MAX));
  return results;
}

/** A file that comes into being, is opened, and goes: five requests at a time. */
function createRow(queue: InProcessQueue): boolean {
  const name = "made";
  const create = queue.prepare(Opcode.CREATE, FUSE_ROOT_ID, CREATE_IN.SIZE, { name });
  create.body.setUint32(CREATE_IN.FLAGS, O_RDWR | O_CREAT, true);
  create.body.setUint32(CREATE_IN.MODE, 0o100644, true);
  create.sendChecked();
  const nodeid = create.reply.getUint32(ENTRY_OUT.NODEID, true);
  const release = queue.prepare(Opcode.RELEASE, nodeid, RELEASE_IN.SIZE);
  const unlink = queue.prepare(Opcode.UNLINK, FUSE_ROOT_ID, 0, { name });
  const forget = queue.prepare(Opcode.FORGET, nodeid, FORGET_IN.SIZE);
  forget.body.setUint32(FORGET_IN.NLOOKUP, 1, true);
  const fhAt = ENTRY_OUT.SIZE + OPEN_OUT.FH;
  const end = () => {
    // With one file at a time its nodeid and slot are always the same; the handle's generation is not.
    release.body.setUint32(RELEASE_IN.FH, create.reply.getUint32(fhAt, true), true);
    release.body.setUint32(RELEASE_IN.FH + 4, create.reply.getUint32(fhAt + 4, true), true);
    release.sendChecked();
    unlink.sendChecked();
    forget.send();
  };
  end();
  return row("CREATE, RELEASE, UNLINK, FORGET", 4, () => {
    create.sendChecked();
    end();
  });
}

/** Shows that the measurement sees an object for each request. */
function control(): boolean {
  const { bytes, nanoseconds, systemShare } = measure(() => kept = { ok: kept === null }, 1);
  const ok = bytes > BYTES_MAX;
  print("control: an object each time", ok, bytes, nanoseconds, systemShare);
  return ok;
}

function main(dir: string): boolean {
  {
    using file = Deno.openSync(`${dir}/file`, { create: true, write: true });
    file.truncateSync(4 * 2 ** 30);
  }
  Deno.createSync(`${dir}/other`).close();
  const queue = new InProcessQueue(dir);
  const lookup = (name: string) => queue.prepare(Opcode.LOOKUP, FUSE_ROOT_ID, 0, { name });
  const known = lookup("file");
  known.sendChecked();
  const nodeid = known.reply.getUint32(ENTRY_OUT.NODEID, true);
  const results = fileRows(queue, nodeid);
  const getattr = queue.prepare(Opcode.GETATTR, nodeid, GETATTR_IN.SIZE);
  results.push(row("GETATTR", 1, getattr.sendChecked));
  results.push(row("LOOKUP, known", 1, known.sendChecked));
  results.push(row("LOOKUP, missing", 1, lookup("no-such-file").send));
  const other = lookup("other");
  other.sendChecked();
  const forget = queue.prepare(
    Opcode.FORGET,
    other.reply.getUint32(ENTRY_OUT.NODEID, true),
    FORGET_IN.SIZE,
  );
  forget.body.setUint32(FORGET_IN.NLOOKUP, 1, true);
  forget.send();
  results.push(row("LOOKUP of a new inode, FORGET", 2, () => {
    other.sendChecked();
    forget.send();
  }));
  results.push(row("STATFS", 1, queue.prepare(Opcode.STATFS, FUSE_ROOT_ID, 0).sendChecked));
  results.push(createRow(queue));
  results.push(control());
  return results.every((ok) => ok);
}

const dir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-bench-" });
let isGood = false;
try {
  isGood = main(dir);
} finally {
  Deno.removeSync(dir, { recursive: true });
}
Deno.exit(isGood ? 0 : 1);
