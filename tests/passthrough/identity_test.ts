import { equal, match } from "node:assert/strict";
import {
  FATTR,
  INIT,
  LINUX_INIT_FLAGS,
  O,
  OP,
  S,
  setattrBody,
  supplementaryGroups,
} from "../support/fuse_wire.ts";
import { concat, name, padded8, text, viewOf, words } from "../support/little_endian.ts";
import { type Circumstances, ShareClient } from "./share_client.ts";

const ROOT = 1n;
const USER = 12345;
const GROUP = 23456;
const OTHER_GROUP = 34567;
const NOT_ROOT = Deno.uid() !== 0;
const CALLER: Circumstances = { uid: USER, gid: GROUP };
/** uid and gid of a request without a caller (ALLOW_IDMAP). */
const NOBODY_AT_ALL: Circumstances = { uid: 0xffffffff, gid: 0xffffffff };

const create = (entry: string): Uint8Array => concat(words(O.RDWR, 0o6755, 0o077, 0), name(entry));
const mkdir = (entry: string): Uint8Array => concat(words(0o755, 0o077), name(entry));
const mknod = (entry: string): Uint8Array =>
  concat(words(S.IFREG | 0o644, 0, 0o077, 0), name(entry));

// Acting as others takes root.
Deno.test({
  name: "a thread is itself again after every request, whatever became of it",
  ignore: NOT_ROOT,
  fn: async () => {
    const flags = LINUX_INIT_FLAGS | (1n << INIT.CREATE_SUPP_GROUP);
    for (const options of [{}, { posixAcl: true, xattr: true, killprivV2: true }]) {
      await using share = await ShareClient.start(options, { flags });
      share.tree.directory("open", 0o777);
      share.tree.directory("closed", 0o700);
      share.tree.file("set-id", "x");
      Deno.chmodSync(share.tree.path("set-id"), 0o6777);
      const own = await share.first.identity();
      match(own, /^Groups:\s*$/m);
      match(own, /^Umask:\s*0000$/m);
      const open = (await share.lookup(ROOT, "open")).nodeid;
      const closed = (await share.lookup(ROOT, "closed")).nodeid;
      const setId = (await share.lookup(ROOT, "set-id")).nodeid;
      const fh = await share.open(setId);
      const group = { ...CALLER, extensions: supplementaryGroups(OTHER_GROUP) };
      const requests: [string, number, bigint, Uint8Array, Circumstances, number][] = [
        ["CREATE", OP.CREATE, open, create("a"), CALLER, 0],
        ["CREATE again", OP.CREATE, open, create("a"), CALLER, 0],
        ["CREATE in a group", OP.CREATE, open, padded8(create("b")), group, 0],
        ["CREATE refused", OP.CREATE, closed, create("a"), CALLER, 13],
        ["CREATE by nobody", OP.CREATE, open, create("c"), NOBODY_AT_ALL, 22],
        ["MKDIR", OP.MKDIR, open, mkdir("d"), CALLER, 0],
        ["MKDIR again", OP.MKDIR, open, mkdir("d"), CALLER, 17],
        ["MKDIR refused", OP.MKDIR, closed, mkdir("d"), CALLER, 13],
        ["MKNOD", OP.MKNOD, open, mknod("n"), CALLER, 0],
        [
          "MKNOD of a device",
          OP.MKNOD,
          open,
          concat(words(S.IFBLK, 0x801, 0, 0), name("dev")),
          CALLER,
          1,
        ],
        ["SYMLINK", OP.SYMLINK, open, concat(name("s"), name("t")), CALLER, 0],
        ["SYMLINK by gid alone", OP.SYMLINK, open, concat(name("s2"), name("t")), {
          uid: 0,
          gid: GROUP,
        }, 0],
        ["TMPFILE", OP.TMPFILE, open, concat(words(O.RDWR, 0o600, 0, 0), name("/")), CALLER, 0],
        [
          "TMPFILE refused",
          OP.TMPFILE,
          closed,
          concat(words(O.RDWR, 0o600, 0, 0), name("/")),
          CALLER,
          13,
        ],
        ["whiteout", OP.RENAME2, open, concat(words(open, 4, 0), name("n"), name("m")), CALLER, 0],
        [
          "whiteout of nothing",
          OP.RENAME2,
          open,
          concat(words(open, 4, 0), name("x"), name("y")),
          CALLER,
          2,
        ],
        ["OPEN, clearing set-id bits", OP.OPEN, setId, words(O.RDWR | O.TRUNC, 1), CALLER, 0],
        [
          "WRITE, clearing set-id bits",
          OP.WRITE,
          setId,
          concat(words(fh, 0n, 1, 4, 0n, 0, 0), text("y")),
          CALLER,
          0,
        ],
        [
          "SETATTR, clearing set-id bits",
          OP.SETATTR,
          setId,
          setattrBody({ valid: FATTR.SIZE | FATTR.KILL_SUIDGID, size: 3n }),
          CALLER,
          0,
        ],
        [
          "SETATTR refused",
          OP.SETATTR,
          open,
          setattrBody({ valid: FATTR.SIZE | FATTR.KILL_SUIDGID, size: 3n }),
          CALLER,
          22,
        ],
      ];
      for (const [what, opcode, nodeid, body, circumstances, errno] of requests) {
        const { error } = await share.call(opcode, nodeid, body, circumstances);
        equal(error, errno, what);
        equal(await share.first.identity(), own, `after ${what}`);
      }
    }
  },
});

Deno.test({
  name: "what a caller makes is the caller's",
  ignore: NOT_ROOT,
  fn: async () => {
    await using share = await ShareClient.start();
    share.tree.directory("open", 0o777);
    const open = (await share.lookup(ROOT, "open")).nodeid;
    await share.call(OP.CREATE, open, create("file"), CALLER);
    await share.call(OP.MKDIR, open, mkdir("directory"), CALLER);
    await share.call(OP.SYMLINK, open, concat(name("symlink"), name("x")), CALLER);
    for (const made of ["file", "directory", "symlink"]) {
      const { uid, gid } = Deno.lstatSync(share.tree.path("open", made));
      equal(`${made} ${uid} ${gid}`, `${made} ${USER} ${GROUP}`);
    }
  },
});

Deno.test({
  name: "CREATE_SUPP_GROUP: a directory's group lets its members in, and only when sent",
  ignore: NOT_ROOT,
  fn: async () => {
    const flags = LINUX_INIT_FLAGS | (1n << INIT.CREATE_SUPP_GROUP);
    await using share = await ShareClient.start({}, { flags });
    Deno.chownSync(share.tree.directory("team", 0o770), 0, OTHER_GROUP);
    Deno.chmodSync(share.tree.path("team"), 0o770);
    const team = (await share.lookup(ROOT, "team")).nodeid;
    equal((await share.call(OP.MKDIR, team, mkdir("d"), CALLER)).error, 13);
    const extensions = supplementaryGroups(OTHER_GROUP);
    equal(
      (await share.call(OP.MKDIR, team, padded8(mkdir("d")), { ...CALLER, extensions })).error,
      0,
    );
  },
});

Deno.test({
  name: "guests that cannot send groups have checked permissions themselves",
  ignore: NOT_ROOT,
  fn: async () => {
    const flags = LINUX_INIT_FLAGS & ~(1n << INIT.CREATE_SUPP_GROUP);
    await using share = await ShareClient.start({}, { flags });
    const own = await share.first.identity();
    share.tree.directory("team", 0o770);
    const team = (await share.lookup(ROOT, "team")).nodeid;
    equal((await share.call(OP.MKDIR, team, mkdir("d"), CALLER)).error, 0);
    equal(Deno.statSync(share.tree.path("team", "d")).uid, USER);
    equal(await share.first.identity(), own);
  },
});

Deno.test("the umask reaches the host only if the guest left it to the host (DONT_MASK)", async () => {
  for (const [posixAcl, mode] of [[true, 0o700], [false, 0o755]] as const) {
    await using share = await ShareClient.start({ posixAcl, xattr: true });
    const { error, body } = await share.call(OP.MKDIR, ROOT, mkdir("d"));
    equal(error, 0);
    equal(viewOf(body).getUint32(40 + 60, true) & 0o777, mode);
  }
});
