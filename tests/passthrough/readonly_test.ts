import { equal } from "node:assert/strict";
import { FATTR, O, OP, S, setattrBody } from "../support/fuse_wire.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { ShareClient } from "./share_client.ts";

const ROOT = 1n;
const EROFS = 30;

/** The share as the host sees it: names, contents, attributes. */
function snapshot(root: string): string {
  return [...Deno.readDirSync(root)].map(({ name }) => {
    const { mode, size, mtime, uid, nlink } = Deno.lstatSync(`${root}/${name}`);
    return `${name} ${mode} ${size} ${mtime?.getTime()} ${uid} ${nlink}`;
  }).sort().join("\n");
}

Deno.test("--readonly refuses every opcode that changes something, and changes nothing", async () => {
  await using share = await ShareClient.start({ readonly: true, xattr: true });
  share.tree.file("file", "content");
  share.tree.directory("directory");
  const before = snapshot(share.tree.root);
  const { nodeid } = await share.lookup(ROOT, "file");
  const fh = await share.open(nodeid, O.RDONLY);
  const requests: [string, number, bigint, Uint8Array][] = [
    ...[O.WRONLY, O.RDWR, O.RDONLY | O.TRUNC, O.WRONLY | O.APPEND].map((flags) =>
      [`OPEN ${flags}`, OP.OPEN, nodeid, words(flags, 0)] as [string, number, bigint, Uint8Array]
    ),
    ...[FATTR.MODE, FATTR.UID, FATTR.SIZE, FATTR.MTIME, 0].map((valid) =>
      [`SETATTR ${valid}`, OP.SETATTR, nodeid, setattrBody({ valid })] as [
        string,
        number,
        bigint,
        Uint8Array,
      ]
    ),
    ["CREATE", OP.CREATE, ROOT, concat(words(O.RDWR, 0o644, 0, 0), name("new"))],
    [
      "CREATE of what is there, to read",
      OP.CREATE,
      ROOT,
      concat(words(0, 0o644, 0, 0), name("file")),
    ],
    ["TMPFILE", OP.TMPFILE, ROOT, concat(words(O.RDWR, 0o644, 0, 0), name("/"))],
    ["MKNOD", OP.MKNOD, ROOT, concat(words(S.IFREG | 0o644, 0, 0, 0), name("new"))],
    ["MKDIR", OP.MKDIR, ROOT, concat(words(0o755, 0), name("new"))],
    ["SYMLINK", OP.SYMLINK, ROOT, concat(name("new"), name("target"))],
    ["LINK", OP.LINK, ROOT, concat(words(nodeid), name("new"))],
    ["UNLINK", OP.UNLINK, ROOT, name("file")],
    ["RMDIR", OP.RMDIR, ROOT, name("directory")],
    ["RENAME", OP.RENAME, ROOT, concat(words(ROOT), name("file"), name("new"))],
    ["RENAME2", OP.RENAME2, ROOT, concat(words(ROOT, 2, 0), name("file"), name("directory"))],
    ["WRITE", OP.WRITE, nodeid, concat(words(fh, 0n, 1, 0, 0n, 0, 0), text("x"))],
    ["FALLOCATE", OP.FALLOCATE, nodeid, words(fh, 0n, 100n, 0, 0)],
    ["COPY_FILE_RANGE", OP.COPY_FILE_RANGE, nodeid, words(fh, 0n, nodeid, fh, 10n, 5n, 0n)],
    ["COPY_FILE_RANGE_64", OP.COPY_FILE_RANGE_64, nodeid, words(fh, 0n, nodeid, fh, 10n, 5n, 0n)],
    ["SETXATTR", OP.SETXATTR, nodeid, concat(words(1, 0), name("user.a"), text("1"))],
    ["REMOVEXATTR", OP.REMOVEXATTR, nodeid, name("user.a")],
  ];
  for (const [what, opcode, node, body] of requests) {
    equal((await share.call(opcode, node, body)).error, EROFS, what);
  }
  equal(snapshot(share.tree.root), before);
  // And still shows everything.
  equal((await share.call(OP.READ, nodeid, words(fh, 0n, 99, 0, 0n, 0, 0))).body.length, 7);
  equal((await share.call(OP.GETATTR, nodeid, words(0, 0, 0n))).error, 0);
});
