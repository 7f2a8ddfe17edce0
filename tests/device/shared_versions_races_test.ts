/**
 * `--cache shared`: an inode gets its slot while somebody who knew of none changes it. Whoever is told a version then must
 * not believe for ever what was before the change.
 */
import assert from "node:assert/strict";
import { randomNumbers, seedOf } from "../intervals/random.ts";
import { until } from "../support/daemon.ts";
import { createBody, type FuseClient, type Pending, ROOT } from "../support/fuse_client.ts";
import { O, OP } from "../support/fuse_wire.ts";
import { Lease } from "../support/lease.ts";
import { concat, name, words } from "../support/little_endian.ts";
import { SharedShare } from "../support/shared_share.ts";
import type { TempTree } from "../support/temp_tree.ts";
import {
  CHANGE,
  IN_PROGRESS,
  readVersionedEntry,
  type VersionedEntry,
} from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";

const share = new SharedShare(2, ["--dax", "never"]);
const few = new SharedShare(2, ["--dax", "never"], 64);

const ROUNDS = Number(Deno.env.get("VIRTIOFSD_TS_STEPS") ?? 400);

/** A change by name of a file that only the other guest looks at, under another name. */
interface Race {
  prepare(tree: TempTree, at: number): void;
  submit(fuse: FuseClient, at: number): Pending;
  /** What the other guest sees afterwards. */
  isAfter(found: VersionedEntry): boolean;
}

const hardLink = (tree: TempTree, at: number) => {
  tree.file(`seen${at}`, "content");
  Deno.linkSync(tree.path(`seen${at}`), tree.path(`other${at}`));
};
const isAlone = ({ entry }: VersionedEntry) => entry.attr.nlink === 1;

const RACES: Record<string, Race> = {
  UNLINK: {
    prepare: hardLink,
    submit: (fuse, at) => fuse.submit(OP.UNLINK, ROOT, name(`other${at}`)),
    isAfter: isAlone,
  },
  "RENAME over it": {
    prepare: (tree, at) => {
      hardLink(tree, at);
      tree.file(`new${at}`);
    },
    submit: (fuse, at) => {
      const body = concat(words(ROOT), name(`new${at}`), name(`other${at}`));
      return fuse.submit(OP.RENAME, ROOT, body);
    },
    isAfter: isAlone,
  },
  "RENAME2 over it": {
    prepare: (tree, at) => {
      hardLink(tree, at);
      tree.file(`new${at}`);
    },
    submit: (fuse, at) => {
      const body = concat(words(ROOT, 0, 0), name(`new${at}`), name(`other${at}`));
      return fuse.submit(OP.RENAME2, ROOT, body);
    },
    isAfter: isAlone,
  },
  "CREATE with O_TRUNC": {
    prepare: hardLink,
    submit: (fuse, at) => {
      const body = createBody(`other${at}`, { flags: O.RDWR | O.CREAT | O.TRUNC });
      return fuse.submit(OP.CREATE, ROOT, body);
    },
    isAfter: ({ entry }) => entry.attr.size === 0n,
  },
};

for (const [what, race] of Object.entries(RACES)) {
  share.test(`shared versions: first LOOKUP against ${what}`, ({ tree, daemons }) => {
    const seed = seedOf();
    const random = randomNumbers(seed);
    using changing = VersionedGuest.connect(daemons[0]!.socketPath);
    using looking = VersionedGuest.connect(daemons[1]!.socketPath);
    let before = 0;
    for (let at = 0; at < ROUNDS; at += 1) {
      race.prepare(tree, at);
      // Who begins, and by how much, is chance: somewhere in these microseconds is the moment.
      const lookUp = () => looking.fuse.submit(OP.LOOKUP, ROOT, name(`seen${at}`), { room: 144 });
      const early = random(2) === 0 ? lookUp() : null;
      spin(random(300));
      const change = race.submit(changing.fuse, at);
      spin(random(300));
      const look = early ?? lookUp();
      const reply = looking.fuse.wait(look);
      assert.equal(changing.fuse.wait(change).error, 0);
      assert.equal(reply.error, 0);
      const found = readVersionedEntry(reply.body);
      if (race.isAfter(found)) continue;
      before += 1;
      const stands = (found.version & IN_PROGRESS) === 0n &&
        looking.versions.slot(found.index) === found.version;
      assert.ok(
        !stands,
        `round ${at}: stale for ever; again with VIRTIOFSD_TS_SEED=${seed} VIRTIOFSD_TS_STEPS=${ROUNDS}`,
      );
    }
    console.log(`    ${before} of ${ROUNDS} replies are of before the change`);
  });
}

/** Takes the name away, or gives it to another, that LINK is about to give to a file. */
const TAKERS: Record<string, (fuse: FuseClient, tree: TempTree, at: number) => Pending> = {
  UNLINK: (fuse, _, at) => fuse.submit(OP.UNLINK, ROOT, name(`name${at}`)),
  RENAME: (fuse, tree, at) => {
    tree.file(`new${at}`);
    return fuse.submit(OP.RENAME, ROOT, concat(words(ROOT), name(`new${at}`), name(`name${at}`)));
  },
};

for (const [what, submit] of Object.entries(TAKERS)) {
  share.test(`shared versions: LINK against ${what} of the name that was not there yet`, ({ tree, daemons }) => {
    const seed = seedOf();
    const random = randomNumbers(seed);
    using taking = VersionedGuest.connect(daemons[0]!.socketPath);
    using linking = VersionedGuest.connect(daemons[1]!.socketPath);
    const { versions } = linking;
    let taken = 0;
    for (let at = 0; at < ROUNDS; at += 1) {
      tree.file(`seen${at}`);
      const { index, entry: { nodeid } } = linking.walk(`seen${at}`);
      const before = versions.slot(index);
      const body = concat(words(nodeid), name(`name${at}`));
      const link = () => linking.fuse.submit(OP.LINK, ROOT, body, { room: 144 });
      const early = random(2) === 0 ? link() : null;
      spin(random(100));
      const take = submit(taking.fuse, tree, at);
      spin(random(100));
      const linked = linking.fuse.wait(early ?? link());
      taking.fuse.wait(take);
      if (linked.error !== 0) continue;
      // Both have been answered. A guest that sees its own change alone believes what the reply says.
      const told = versions.slot(index);
      const { attr } = readVersionedEntry(linked.body).entry;
      const now = linking.fuse.getattr(nodeid);
      if (now.nlink !== attr.nlink) taken += 1;
      assert.ok(
        told !== before + CHANGE || now.nlink === attr.nlink,
        `round ${at}: ${attr.nlink} names for ever; again with VIRTIOFSD_TS_SEED=${seed} VIRTIOFSD_TS_STEPS=${ROUNDS}`,
      );
    }
    console.log(`    ${taken} of ${ROUNDS} names were taken at once`);
  });
}

/** Some microseconds. */
function spin(microseconds: number): void {
  const end = performance.now() + microseconds / 1000;
  while (performance.now() < end);
}

few.test("shared versions: a slot that is given in the midst of a change by who has none", async ({ tree, daemons }) => {
  for (let index = 0; index < 80; index += 1) tree.file(`f${index}`, "x");
  const path = tree.file("late", "before");
  tree.file("held");
  using changing = VersionedGuest.connect(daemons[0]!.socketPath);
  using looking = VersionedGuest.connect(daemons[1]!.socketPath);
  const held = looking.walk("held");
  let given = changing.walk("f0");
  for (let at = 1; given.index !== 0; at += 1) given = changing.walk(`f${at}`);
  const { index, entry: { nodeid } } = changing.walk("late");
  assert.equal(index, 0, "the table is full");
  using lease = new Lease(path);
  const opening = changing.fuse.submit(OP.OPEN, nodeid, words(O.RDWR | O.TRUNC, 0), { room: 16 });
  assert.ok(!changing.fuse.poll(opening, 100), "it waits for the lease");
  looking.guest.forget(held.entry.nodeid);
  await until("a slot", () => looking.walk("late").index !== 0);
  const found = looking.walk("late");
  assert.equal(found.entry.attr.size, 6n, "it has not happened yet");
  lease.giveUp();
  assert.equal(changing.fuse.wait(opening).error, 0);
  const stands = (found.version & IN_PROGRESS) === 0n &&
    looking.versions.slot(found.index) === found.version;
  assert.ok(!stands, "stale for ever");
  assert.equal(looking.walk("late").entry.attr.size, 0n);
});
