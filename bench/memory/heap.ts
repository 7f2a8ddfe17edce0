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
const SMALL = 4096;
const O_RDWR = 2;

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

function measure(step: () => void): Cost {
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
    bytes: (after - before) / COUNT,
    nanoseconds: milliseconds * 1e6 / COUNT,
    systemShare: system / (user + system),
  };
}

let kept: unknown = null;

function main(dir: string): boolean {
  Deno.writeFileSync(`${dir}/file`, new Uint8Array(1024 * 1024));
  const queue = new InProcessQueue(dir);
  const lookup = (name: string) => {
    queue.prepare(Opcode.LOOKUP, FUSE_ROOT_ID, 0, { name });
    return () => queue.send();
  };
  lookup("file")();
  const nodeid = queue.replyU32(ENTRY_OUT.NODEID);
  const open = () => {
    const view = queue.prepare(Opcode.OPEN, nodeid, OPEN_IN.SIZE, {});
    view.setUint32(OPEN_IN.FLAGS, O_RDWR, true);
    queue.sendChecked();
    return [queue.replyU32(OPEN_OUT.FH), queue.replyU32(OPEN_OUT.FH + 4)] as const;
  };
  const [fhLo, fhHi] = open();
  const isGood = (what: string, step: () => void, isControl = false) => {
    const { bytes, nanoseconds, systemShare } = measure(step);
    const ok = isControl ? bytes > BYTES_MAX : bytes <= BYTES_MAX;
    console.log(
      `${ok ? "ok  " : "FAIL"} ${what.padEnd(28)} ${bytes.toFixed(3).padStart(9)} B/request ` +
        `${nanoseconds.toFixed(0).padStart(6)} ns ${
          (systemShare * 100).toFixed(0).padStart(3)
        } % in the kernel`,
    );
    return ok;
  };
  const withHandle = (opcode: number, size: number, sizeAt: number, options: object) => {
    const view = queue.prepare(opcode, nodeid, size, options);
    view.setUint32(0, fhLo, true);
    view.setUint32(4, fhHi, true);
    view.setUint32(sizeAt, SMALL, true);
    return () => queue.sendChecked();
  };
  const results = [
    isGood(
      "READ 4 KiB",
      withHandle(Opcode.READ, READ_IN.SIZE, READ_IN.SIZE_, { replySize: SMALL }),
    ),
    isGood(
      "WRITE 4 KiB",
      withHandle(Opcode.WRITE, WRITE_IN.SIZE, WRITE_IN.SIZE_, { dataSize: SMALL }),
    ),
  ];
  queue.prepare(Opcode.GETATTR, nodeid, GETATTR_IN.SIZE, {});
  results.push(isGood("GETATTR", () => queue.sendChecked()));
  results.push(isGood("LOOKUP, known", lookup("file")));
  results.push(isGood("LOOKUP, missing", lookup("no-such-file")));
  queue.prepare(Opcode.STATFS, FUSE_ROOT_ID, 0, {});
  results.push(isGood("STATFS", () => queue.sendChecked()));
  // The control, and a request served by preparing another one: these allocate in this file.
  results.push(isGood("control: an object each time", () => kept = { ok: kept === null }, true));
  closeAll(queue, nodeid, fhLo, fhHi);
  return results.every((ok) => ok);
}

function closeAll(queue: InProcessQueue, nodeid: number, fhLo: number, fhHi: number): void {
  const release = queue.prepare(Opcode.RELEASE, nodeid, RELEASE_IN.SIZE, {});
  release.setUint32(RELEASE_IN.FH, fhLo, true);
  release.setUint32(RELEASE_IN.FH + 4, fhHi, true);
  queue.sendChecked();
  const forget = queue.prepare(Opcode.FORGET, nodeid, FORGET_IN.SIZE, {});
  forget.setUint32(FORGET_IN.NLOOKUP, 0xffffffff, true);
  queue.send();
}

const dir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-bench-" });
let isGood = false;
try {
  isGood = main(dir);
} finally {
  Deno.removeSync(dir, { recursive: true });
}
Deno.exit(isGood ? 0 : 1);
