import { equal } from "node:assert/strict";
import {
  FATTR,
  INIT,
  LINUX_INIT_FLAGS,
  O,
  OP,
  readEntry,
  S,
  setattrBody,
} from "../support/fuse_wire.ts";
import { concat, name, padded8, text, viewOf, words } from "../support/little_endian.ts";
import { type Answer, descriptorCount, ShareClient } from "./share_client.ts";

const ROOT = 1n;
const NOBODY = 65534;
const ROUNDS = 400;

/** Runs a round a few times, for what is made once; then many times, and compares what is held. */
async function holdsNothing(
  share: ShareClient,
  round: (i: number) => Promise<void>,
): Promise<void> {
  for (let i = 0; i < 3; i++) await round(i);
  const before = held(share);
  for (let i = 0; i < ROUNDS; i++) await round(i);
  equal(held(share), before);
}

function held(share: ShareClient): string {
  return `${descriptorCount()} descriptors, ${share.inodes.count} inodes, ${share.inodes.fdCount} of them open, ` +
    `${share.handles.count} handles, ${share.locks.count} locks`;
}

/** Gives back what an entry reply counted. */
async function giveBack(share: ShareClient, { error, body }: Answer): Promise<bigint> {
  if (error !== 0) return 0n;
  const { nodeid } = readEntry(body);
  if (nodeid !== 0n) await share.forget(nodeid);
  return nodeid;
}

const makers: Readonly<Record<string, (share: ShareClient) => Promise<Answer>>> = {
  MKDIR: (share) => share.call(OP.MKDIR, ROOT, concat(words(0o755, 0), name("n"))),
  MKNOD: (share) => share.call(OP.MKNOD, ROOT, concat(words(S.IFREG | 0o644, 0, 0, 0), name("n"))),
  SYMLINK: (share) => share.call(OP.SYMLINK, ROOT, concat(name("n"), name("target"))),
  "MKNOD of a FIFO": (share) =>
    share.call(OP.MKNOD, ROOT, concat(words(S.IFIFO | 0o644, 0, 0, 0), name("n"))),
};

for (const mode of ["never", "prefer", "mandatory"] as const) {
  const options = { inodeFileHandles: mode, xattr: true, posixLocks: true, flockLocks: true };

  Deno.test(`nothing leaks: names, made and refused (--inode-file-handles=${mode})`, async () => {
    await using share = await ShareClient.start(options);
    share.tree.file("there", "x");
    share.tree.directory("full/inside");
    await holdsNothing(share, async () => {
      for (const [what, make] of Object.entries(makers)) {
        const made = await make(share);
        // FIFOs and symlinks have no mount of their own to be opened through; all others must work.
        equal(made.error, 0, what);
        equal((await make(share)).error, 17, `${what} again`);
        await giveBack(share, made);
        const remove = what === "MKDIR" ? OP.RMDIR : OP.UNLINK;
        equal((await share.call(remove, ROOT, name("n"))).error, 0, what);
      }
      equal((await share.call(OP.LOOKUP, ROOT, name("missing"))).error, 2);
      equal((await share.call(OP.RMDIR, ROOT, name("full"))).error, 39);
      const there = await share.lookup(ROOT, "there");
      // A file is no directory.
      equal((await share.call(OP.LOOKUP, there.nodeid, name("x"))).error, 20);
      equal(
        (await share.call(OP.MKDIR, there.nodeid, concat(words(0o755, 0), name("x")))).error,
        20,
      );
      const link = await share.call(OP.LINK, ROOT, concat(words(there.nodeid), name("link")));
      equal(link.error, 0);
      await giveBack(share, link);
      equal((await share.call(OP.LINK, ROOT, concat(words(there.nodeid), name("link")))).error, 17);
      equal((await share.call(OP.LINK, 999n, concat(words(there.nodeid), name("l")))).error, 116);
      equal((await share.call(OP.LINK, ROOT, concat(words(999n), name("l")))).error, 116);
      equal(
        (await share.call(OP.RENAME, ROOT, concat(words(ROOT), name("link"), name("moved")))).error,
        0,
      );
      // There and back: the directory must be free of pins afterwards.
      const full = (await share.lookup(ROOT, "full")).nodeid;
      const away = concat(words(full), name("moved"), name("moved"));
      equal((await share.call(OP.RENAME, ROOT, away)).error, 0);
      const back = concat(words(ROOT, 1, 0), name("moved"), name("moved"));
      equal((await share.call(OP.RENAME2, full, back)).error, 0);
      await share.forget(full);
      equal(
        (await share.call(OP.RENAME, ROOT, concat(words(999n), name("moved"), name("x")))).error,
        116,
      );
      equal(
        (await share.call(OP.RENAME2, ROOT, concat(words(ROOT, 64, 0), name("moved"), name("x"))))
          .error,
        22,
      );
      equal((await share.call(OP.UNLINK, ROOT, name("moved"))).error, 0);
      await share.forget(there.nodeid);
    });
  });

  Deno.test(`nothing leaks: files, opened and refused (--inode-file-handles=${mode})`, async () => {
    await using share = await ShareClient.start(options);
    share.tree.file("file", "0123456789");
    share.tree.directory("directory");
    Deno.mkdirSync(share.tree.path("closed"), { mode: 0o700 });
    await holdsNothing(share, async () => {
      const { nodeid } = await share.lookup(ROOT, "file");
      const fh = await share.open(nodeid);
      equal((await share.call(OP.GETATTR, nodeid, words(1, 0, fh))).error, 0);
      equal((await share.call(OP.GETATTR, nodeid, words(1, 0, fh + 1n))).error, 9);
      equal((await share.call(OP.READ, nodeid, words(fh, 0n, 100, 0, 0n, 0, 0))).body.length, 10);
      equal((await share.call(OP.READ, ROOT, words(fh, 0n, 100, 0, 0n, 0, 0))).error, 9);
      const write = concat(words(fh, 0n, 2, 0, 0n, 0, 0), text("ab"));
      equal((await share.call(OP.WRITE, nodeid, write)).error, 0);
      equal((await share.call(OP.FALLOCATE, nodeid, words(fh, 0n, 10n, 0, 0))).error, 0);
      equal((await share.call(OP.FALLOCATE, nodeid, words(fh, 0n, 0n, 0, 0))).error, 22);
      equal((await share.call(OP.LSEEK, nodeid, words(fh, 0n, 4, 0))).error, 0);
      equal((await share.call(OP.LSEEK, nodeid, words(fh, 99n, 4, 0))).error, 6);
      equal((await share.call(OP.FSYNC, nodeid, words(fh, 1, 0))).error, 0);
      const copy = words(fh, 0n, nodeid, fh + 1n, 5n, 2n, 0n);
      equal((await share.call(OP.COPY_FILE_RANGE, nodeid, copy)).error, 9);
      equal(
        (await share.call(
          OP.SETATTR,
          nodeid,
          setattrBody({ valid: FATTR.SIZE | FATTR.FH, fh, size: 10n }),
        )).error,
        0,
      );
      equal(
        (await share.call(OP.SETATTR, nodeid, setattrBody({ valid: FATTR.FH, fh: 99n }))).error,
        9,
      );
      equal((await share.call(OP.FLUSH, nodeid, words(fh, 0, 0, 5n))).error, 0);
      // A write lock of owner 5, dropped by its close; the unlock leaves the descriptor until then.
      equal((await share.call(OP.SETLK, nodeid, words(fh, 5n, 0n, 9n, 1, 0, 0, 0))).error, 0);
      equal(share.locks.count, 1);
      equal((await share.call(OP.SETLK, nodeid, words(fh, 6n, 0n, 9n, 1, 0, 0, 0))).error, 11);
      equal((await share.call(OP.FLUSH, nodeid, words(fh, 0, 0, 5n))).error, 0);
      equal((await share.call(OP.FLUSH, nodeid, words(fh, 0, 0, 6n))).error, 0);
      equal(share.locks.count, 0);
      await share.release(nodeid, fh);
      equal((await share.call(OP.RELEASE, nodeid, words(fh, 0, 0, 0n))).error, 9);
      equal((await share.call(OP.OPENDIR, nodeid, words(0, 0))).error, 20);
      equal((await share.call(OP.STATFS, nodeid)).error, 0);
      equal((await share.call(OP.STATX, nodeid, words(0, 0, 0n, 0, 0xfff))).error, 0);
      const set = concat(words(1, 0), name("user.a"), text("1"));
      equal((await share.call(OP.SETXATTR, nodeid, set)).error, 0);
      equal((await share.call(OP.REMOVEXATTR, nodeid, name("user.a"))).error, 0);
      equal((await share.call(OP.REMOVEXATTR, nodeid, name("user.a"))).error, 61);
      await share.forget(nodeid);

      const created = await share.call(
        OP.CREATE,
        ROOT,
        concat(words(O.RDWR, 0o644, 0, 0), name("new")),
      );
      equal(created.error, 0);
      const newFh = viewOf(created.body).getBigUint64(128, true);
      await share.release(readEntry(created.body).nodeid, newFh);
      await giveBack(share, created);
      // CREATE of what is there and known.
      const known = await share.lookup(ROOT, "new");
      const again = concat(words(O.RDWR, 0o644, 0, 0), name("new"));
      const reopened = await share.call(OP.CREATE, ROOT, again);
      equal(reopened.error, 0);
      equal(await giveBack(share, reopened), known.nodeid);
      await share.release(known.nodeid, viewOf(reopened.body).getBigUint64(128, true));
      await share.forget(known.nodeid);
      const excl = concat(words(O.RDWR | O.EXCL, 0o644, 0, 0), name("new"));
      equal((await share.call(OP.CREATE, ROOT, excl)).error, 17);
      const onDirectory = concat(words(O.RDWR, 0o644, 0, 0), name("directory"));
      equal((await share.call(OP.CREATE, ROOT, onDirectory)).error, 21);
      equal((await share.call(OP.UNLINK, ROOT, name("new"))).error, 0);
      const closed = await share.lookup(ROOT, "closed");
      const refused = concat(words(O.RDWR, 0o644, 0, 0), name("new"));
      const caller = { uid: NOBODY, gid: NOBODY };
      equal((await share.call(OP.CREATE, closed.nodeid, refused, caller)).error, 13);
      equal(
        (await share.call(OP.MKDIR, closed.nodeid, concat(words(0o755, 0), name("x")), caller))
          .error,
        13,
      );
      await share.forget(closed.nodeid);
      const temporary = await share.call(
        OP.TMPFILE,
        ROOT,
        concat(words(O.RDWR, 0o600, 0, 0), name("/")),
      );
      equal(temporary.error, 0);
      await share.release(
        readEntry(temporary.body).nodeid,
        viewOf(temporary.body).getBigUint64(128, true),
      );
      await giveBack(share, temporary);
      const directory = await share.open(ROOT, 0, OP.OPENDIR);
      equal((await share.call(OP.FSYNCDIR, ROOT, words(directory, 0, 0))).error, 0);
      await share.release(ROOT, directory, OP.RELEASEDIR);
      equal((await share.call(OP.SYNCFS, ROOT, words(0n))).error, 0);
    });
  });
}

Deno.test("nothing leaks: a label that cannot be set takes its file with it", async () => {
  await using share = await ShareClient.start(
    { securityLabel: true, xattr: true },
    { flags: LINUX_INIT_FLAGS | (1n << INIT.SECURITY_CTX) },
  );
  // An xattr outside all namespaces.
  const context = concat(words(1, 0), name("no-such-namespace"), text("x"));
  const padded = concat(context, new Uint8Array((8 - (8 + context.length) % 8) % 8));
  const extensions = concat(words(8 + padded.length, 1), padded);
  await holdsNothing(share, async () => {
    const create = concat(words(O.RDWR, 0o644, 0, 0), name("new"));
    equal((await share.call(OP.CREATE, ROOT, padded8(create), { extensions })).error, 95);
    equal(
      (await share.call(OP.MKDIR, ROOT, padded8(concat(words(0o755, 0), name("d"))), {
        extensions,
      })).error,
      95,
    );
    equal([...Deno.readDirSync(share.tree.root)].length, 0);
  });
});

Deno.test("DESTROY, and a new INIT, drop everything the guest held", async () => {
  await using share = await ShareClient.start({ posixLocks: true });
  for (let i = 0; i < 50; i++) share.tree.file(`file-${i}`, "x");
  const before = held(share);
  for (
    const end of [
      async () => void await share.call(OP.DESTROY, 0n),
      async () => await share.init(),
    ]
  ) {
    for (let i = 0; i < 50; i++) {
      const { nodeid } = await share.lookup(ROOT, `file-${i}`);
      const fh = await share.open(nodeid);
      equal((await share.call(OP.SETLK, nodeid, words(fh, 5n, 0n, 9n, 1, 0, 0, 0))).error, 0);
    }
    await end();
    equal(held(share), before);
    await share.init();
  }
});

Deno.test("an open file keeps its inode and its locks; FORGET and RELEASE drop them, with their descriptors", async () => {
  await using share = await ShareClient.start({ posixLocks: true });
  share.tree.file("file", "x");
  const before = held(share);
  const { nodeid } = await share.lookup(ROOT, "file");
  const fh = await share.open(nodeid);
  equal((await share.call(OP.SETLK, nodeid, words(fh, 5n, 0n, 9n, 1, 0, 0, 0))).error, 0);
  await share.forget(nodeid);
  // The open file is the guest's until it is released, and its nodeid means no other file.
  equal(share.handles.count, 1);
  equal(share.locks.count, 1);
  await share.release(nodeid, fh);
  equal(share.locks.count, 0);
  equal(held(share), before);
});

Deno.test("DESTROY drops locks on the root directory, which itself stays", async () => {
  await using share = await ShareClient.start({ readonly: true, posixLocks: true });
  const before = held(share);
  const fh = await share.open(ROOT, 0, OP.OPENDIR);
  // A read lock, on a directory, through a read-only share.
  equal((await share.call(OP.SETLK, ROOT, words(fh, 5n, 0n, 9n, 0, 0, 0, 0))).error, 0);
  await share.call(OP.DESTROY, 0n);
  equal(held(share), before);
});
