import { deepEqual, equal } from "node:assert/strict";
import { OP, readDirents } from "../support/fuse_wire.ts";
import { name, words } from "../support/little_endian.ts";
import { DescriptorLimit } from "./descriptor_limit.ts";
import { descriptorCount, ShareClient } from "./share_client.ts";

const ROOT = 1n;
const EMFILE = 24;

function files(share: ShareClient, count: number): string[] {
  const names = Array.from({ length: count }, (_, i) => `file-${i}`);
  for (const entry of names) share.tree.file(entry, entry);
  return names;
}

Deno.test("prefer: inodes beyond the descriptors' share are held by file handle, and work", async () => {
  // The tests before this one in the process may have left descriptors open, and the share's thread needs some, too.
  const limit = descriptorCount() + 200;
  const share = await (async () => {
    using _limit = new DescriptorLimit(limit);
    return await ShareClient.start({ inodeFileHandles: "prefer" });
  })();
  await using _ = share;
  // Half of the guest's, which are all but 256 or a quarter.
  const preferred = Math.floor((limit - Math.min(256, Math.ceil(limit / 4))) / 2);
  const names = files(share, preferred + 225);
  const nodeids = new Map<string, bigint>();
  for (const entry of names) nodeids.set(entry, (await share.lookup(ROOT, entry)).nodeid);
  equal(share.inodes.count, names.length + 1);
  equal(share.inodes.fdCount, preferred);
  // Looked up again they are the same inodes, however they are held.
  for (const entry of names) equal((await share.lookup(ROOT, entry)).nodeid, nodeids.get(entry));
  const before = descriptorCount();
  for (const entry of names) {
    const nodeid = nodeids.get(entry)!;
    const fh = await share.open(nodeid, 0);
    const { body } = await share.call(OP.READ, nodeid, words(fh, 0n, 99, 0, 0n, 0, 0));
    equal(new TextDecoder().decode(body), entry);
    await share.release(nodeid, fh);
  }
  equal(descriptorCount(), before);
  for (const nodeid of nodeids.values()) await share.forget(nodeid, 2n);
  equal(share.inodes.count, 1);
});

Deno.test("mandatory: no inode but the root holds a descriptor; deleted files are ESTALE", async () => {
  await using share = await ShareClient.start({ inodeFileHandles: "mandatory" });
  const names = files(share, 50);
  const nodeids = await Promise.resolve(names.map(() => 0n));
  for (const [i, entry] of names.entries()) nodeids[i] = (await share.lookup(ROOT, entry)).nodeid;
  equal(share.inodes.fdCount, 1);
  equal(new Set(nodeids).size, 50);
  share.tree.directory("a/b");
  const a = await share.lookup(ROOT, "a");
  const b = await share.lookup(a.nodeid, "b");
  equal((await share.lookup(b.nodeid, "..")).nodeid, a.nodeid);
  Deno.removeSync(share.tree.path(names[0]!));
  equal((await share.call(OP.GETATTR, nodeids[0]!, words(0, 0, 0n))).error, 116);
  equal((await share.call(OP.GETATTR, nodeids[1]!, words(0, 0, 0n))).error, 0);
});

Deno.test("never: without descriptors LOOKUP says EMFILE, READDIRPLUS still lists every name", async () => {
  await using share = await ShareClient.start({ inodeFileHandles: "never" });
  const names = files(share, 120);
  const directory = await share.open(ROOT, 0, OP.OPENDIR);
  const fields: Record<string, number> = { known: 0, refused: 0 };
  // What Deno itself opens on the side must have room too; what is measured is the errno.
  using _limit = new DescriptorLimit(descriptorCount() + 40);
  for (const entry of names) {
    const { error } = await share.call(OP.LOOKUP, ROOT, name(entry));
    if (error === 0) fields.known!++;
    else {
      equal(error, EMFILE);
      fields.refused!++;
    }
  }
  equal(fields.known! > 0 && fields.refused! > 0, true, JSON.stringify(fields));
  const { body } = await share.call(OP.READDIRPLUS, ROOT, words(directory, 0n, 65536, 0, 0n, 0, 0));
  const listed = readDirents(body, true);
  deepEqual(listed.map((entry) => entry.name).sort(), [".", "..", ...names].sort());
  equal(listed.some((entry) => entry.entry?.nodeid === 0n && entry.name.startsWith("file")), true);
});
