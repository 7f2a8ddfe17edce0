/**
 * What a million inodes that a guest has looked up cost in the daemon's tables.
 *
 *     deno task bench:inodes [COUNT]
 *
 * The inodes are put straight into the table, without files behind them: the host's limit of descriptors and its own
 * inode cache are not what is asked here.
 *
 * @module
 */

import { InodeKey, InodeTable } from "../../src/state/inode_table.ts";
import { StateMemory } from "../../src/state/state_memory.ts";

const COUNT = Number(Deno.args[0] ?? 1_000_000);
/** The promise. */
const BYTES_MAX = 200;

/** Bytes of shared memory, and of anything, that this process has touched. */
function resident(): { shared: number; all: number } {
  const text = Deno.readTextFileSync("/proc/self/status");
  const kilobytes = (name: string) =>
    Number(text.match(new RegExp(`^${name}:\\s*(\\d+) kB`, "m"))?.[1] ?? NaN);
  return { shared: kilobytes("RssShmem") * 1024, all: kilobytes("VmRSS") * 1024 };
}

/** Consecutive inode numbers with a few holes, as a real tree has them. */
function fill(key: InodeKey, i: number): void {
  key.devLo = 8;
  key.inoLo = i * 3 + (i & 1);
  key.mountId = 30;
  key.mode = 0o100644;
  key.handleType = 1;
  key.handleSize = 8;
}

const table = new InodeTable(StateMemory.create().memory, {
  releaseLocks() {},
  releaseVersion() {},
});
const key = new InodeKey();
const before = resident();
let start = performance.now();
for (let i = 1; i <= COUNT; i++) {
  fill(key, i);
  if (table.insert(key, -1) === 0) throw new Error("The table is full");
}
const insertNs = (performance.now() - start) * 1e6 / COUNT;
const after = resident();
start = performance.now();
for (let i = 1; i <= COUNT; i++) {
  fill(key, i);
  if (table.find(key, 1) === 0) throw new Error(`Inode ${i} is lost`);
}
const findNs = (performance.now() - start) * 1e6 / COUNT;
const bytes = (after.shared - before.shared) / COUNT;
const all = (after.all - before.all) / COUNT;
const ok = bytes < BYTES_MAX && bytes > 0;
console.log(
  `${ok ? "ok  " : "FAIL"} ${COUNT} inodes: ${bytes.toFixed(1)} bytes each in the state memory ` +
    `(${all.toFixed(1)} with everything else), insert ${insertNs.toFixed(0)} ns, find ${
      findNs.toFixed(0)
    } ns`,
);
Deno.exit(ok ? 0 : 1);
