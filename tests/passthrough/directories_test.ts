import { deepEqual, equal, notEqual } from "node:assert/strict";
import { type Dirent, OP, readDirents } from "../support/fuse_wire.ts";
import { words } from "../support/little_endian.ts";
import { ShareClient } from "./share_client.ts";

const ROOT = 1n;
const EINVAL = 22;

/** Names of all lengths that records round up differently for. */
const NAMES = Array.from({ length: 300 }, (_, i) => `${i}-`.padEnd(1 + (i * 7) % 250, "n") + i);

async function read(
  share: ShareClient,
  fh: bigint,
  offset: bigint,
  size: number,
  plus: boolean,
): Promise<Dirent[]> {
  const opcode = plus ? OP.READDIRPLUS : OP.READDIR;
  const { error, body } = await share.call(opcode, ROOT, words(fh, offset, size, 0, 0n, 0, 0), {
    writableSize: 16 + size,
  });
  equal(error, 0);
  equal(body.length <= size, true);
  return readDirents(body, plus);
}

async function listAll(
  share: ShareClient,
  fh: bigint,
  size: number,
  plus: boolean,
): Promise<Dirent[]> {
  const all: Dirent[] = [];
  for (let offset = 0n;;) {
    const some = await read(share, fh, offset, size, plus);
    if (some.length === 0) return all;
    all.push(...some);
    offset = some.at(-1)!.off;
  }
}

async function forgetAll(share: ShareClient, entries: readonly Dirent[]): Promise<void> {
  for (const { entry } of entries) {
    if (entry !== null && entry.nodeid !== 0n) await share.forget(entry.nodeid);
  }
}

for (const plus of [false, true]) {
  const opcode = plus ? "READDIRPLUS" : "READDIR";

  Deno.test(`${opcode} lists every name once, whatever the size of the replies`, async () => {
    await using share = await ShareClient.start();
    for (const name of NAMES) share.tree.file(name);
    const expected = [".", "..", ...NAMES].sort();
    // From barely one record to all at once.
    for (const size of [440, 512, 1000, 1021, 4096, 65536, 1 << 20]) {
      const fh = await share.open(ROOT, 0, OP.OPENDIR);
      const all = await listAll(share, fh, size, plus);
      deepEqual(all.map((entry) => entry.name).sort(), expected, `replies of ${size}`);
      await forgetAll(share, all);
      await share.release(ROOT, fh, OP.RELEASEDIR);
      equal(share.inodes.count, 1, "every lookup of a record was counted, and no other");
    }
  });

  Deno.test(`${opcode} with too little room for one record is EINVAL, and loses nothing`, async () => {
    await using share = await ShareClient.start();
    share.tree.file("n".repeat(250));
    const fh = await share.open(ROOT, 0, OP.OPENDIR);
    let offset = 0n;
    const seen: string[] = [];
    for (let failed = 0; failed < 3;) {
      const size = plus ? 300 : 100;
      const body = words(fh, offset, size, 0, 0n, 0, 0);
      const answer = await share.call(plus ? OP.READDIRPLUS : OP.READDIR, ROOT, body, {
        writableSize: 16 + size,
      });
      if (answer.error !== 0) {
        equal(answer.error, EINVAL);
        failed++;
        continue;
      }
      const some = readDirents(answer.body, plus);
      if (some.length === 0) break;
      seen.push(...some.map((entry) => entry.name));
      offset = some.at(-1)!.off;
    }
    const rest = await read(share, fh, offset, 4096, plus);
    seen.push(...rest.map((entry) => entry.name));
    deepEqual(seen.sort(), [".", "..", "n".repeat(250)].sort());
    await forgetAll(share, rest);
    equal(share.inodes.count, 1);
  });
}

Deno.test("a cookie leads back to where it came from, on any handle and in any order", async () => {
  await using share = await ShareClient.start();
  for (const name of NAMES) share.tree.file(name);
  const fh = await share.open(ROOT, 0, OP.OPENDIR);
  const other = await share.open(ROOT, 0, OP.OPENDIR);
  const all = await listAll(share, fh, 4096, false);
  for (const at of [250, 3, 77, 0, 299, 150]) {
    for (const handle of [fh, other]) {
      const [next] = await read(share, handle, all[at]!.off, 600, false);
      equal(next?.name, all[at + 1]?.name, `after entry ${at}`);
    }
  }
  // Rewound: new entries are seen.
  share.tree.file("fresh");
  const again = await listAll(share, fh, 4096, false);
  equal(again.length, all.length + 1);
});

Deno.test("two readers of one handle each get all", async () => {
  await using share = await ShareClient.start();
  for (const name of NAMES) share.tree.file(name);
  const fh = await share.open(ROOT, 0, OP.OPENDIR);
  const lists: Dirent[][] = [[], []];
  const offsets = [0n, 0n];
  const done = [false, false];
  for (let turn = 0; !done[0] || !done[1]; turn++) {
    const who = turn % 2;
    if (done[who]) continue;
    const some = await read(share, fh, offsets[who]!, 700 + who * 333, false);
    done[who] = some.length === 0;
    lists[who]!.push(...some);
    offsets[who] = some.at(-1)?.off ?? 0n;
  }
  for (const list of lists) {
    deepEqual(list.map((entry) => entry.name).sort(), [".", "..", ...NAMES].sort());
  }
});

Deno.test("the root's parent is the root, whatever lies above", async () => {
  await using share = await ShareClient.start();
  const fh = await share.open(ROOT, 0, OP.OPENDIR);
  const entries = await read(share, fh, 0n, 4096, true);
  const own = entries.find((entry) => entry.name === ".")!;
  const parent = entries.find((entry) => entry.name === "..")!;
  equal(parent.ino, own.ino);
  notEqual(parent.ino, BigInt(Deno.statSync(`${share.tree.root}/..`).ino!));
  equal(parent.entry?.nodeid, 0n);
});
