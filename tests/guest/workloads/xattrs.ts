/**
 * Extended attributes and POSIX ACLs, on and off.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import { perl } from "./processes.ts";
import type { Workload } from "./workload.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** With `--xattr`: set, read, listed, replaced, removed; the host sees the same. */
export const xattrs: Workload = {
  name: "xattrs",
  core: true,
  notFor: ({ xattr }) => xattr ? null : "xattr is off",
  run({ dir, isVirtiofs }) {
    if (!isVirtiofs) return {};
    const path = `${dir}/f`;
    Deno.writeTextFileSync(path, "x");
    assert.deepEqual(must(libc.listxattr(path), "list"), []);
    must(libc.setxattr(path, "user.one", bytes("1")), "set");
    must(libc.setxattr(path, "user.big", new Uint8Array(2000).fill(66)), "set 2000 bytes");
    must(libc.setxattr(path, "user.empty", new Uint8Array(0)), "set nothing");
    const trusted = new Uint8Array([0, 255, 0]);
    const setTrusted = libc.setxattr(path, "trusted.root", trusted);
    // A daemon that has given CAP_SYS_ADMIN away cannot; one that has it must.
    const hasTrusted = setTrusted === 0;
    if (!hasTrusted) mustFail(setTrusted, "EPERM", "set trusted");
    mustFail(libc.setxattr(path, "user.one", bytes("2"), 1), "EEXIST", "XATTR_CREATE");
    mustFail(libc.setxattr(path, "user.none", bytes("2"), 2), "ENODATA", "XATTR_REPLACE");
    must(libc.setxattr(path, "user.one", bytes("two"), 2), "XATTR_REPLACE");
    assert.deepEqual(must(libc.getxattr(path, "user.one"), "get"), bytes("two"));
    assert.equal(must(libc.getxattr(path, "user.big", 0), "size"), 2000);
    mustFail(libc.getxattr(path, "user.big", 10), "ERANGE", "short buffer");
    mustFail(libc.getxattr(path, "user.none"), "ENODATA", "no such attribute");
    if (hasTrusted) assert.deepEqual(must(libc.getxattr(path, "trusted.root"), "get"), trusted);
    const names = must(libc.listxattr(path), "list").sort();
    const expected = ["user.big", "user.empty", "user.one"];
    assert.deepEqual(names, hasTrusted ? ["trusted.root", ...expected] : expected);
    must(libc.removexattr(path, "user.empty"), "remove");
    mustFail(libc.removexattr(path, "user.empty"), "ENODATA", "remove again");
    Deno.mkdirSync(`${dir}/d`);
    must(libc.setxattr(`${dir}/d`, "user.dir", bytes("d")), "set on a directory");
    return { hasTrusted };
  },
  verify({ dir }, { hasTrusted }) {
    if (hasTrusted === undefined) return;
    const names = must(libc.listxattr(`${dir}/f`), "list").sort();
    const expected = ["user.big", "user.one"];
    assert.deepEqual(names, hasTrusted === true ? ["trusted.root", ...expected] : expected);
    assert.deepEqual(libc.getxattr(`${dir}/f`, "user.one"), bytes("two"));
    assert.deepEqual(libc.getxattr(`${dir}/d`, "user.dir"), bytes("d"));
  },
};

/** Without `--xattr`: refused, and the guest remembers. */
export const xattrsOff: Workload = {
  name: "xattrs-off",
  core: true,
  notFor: ({ xattr }) => xattr ? "xattr is on" : null,
  run({ dir, isVirtiofs }) {
    if (!isVirtiofs) return;
    Deno.writeTextFileSync(`${dir}/f`, "x");
    for (let i = 0; i < 2; i++) {
      mustFail(libc.setxattr(`${dir}/f`, "user.one", bytes("1")), "EOPNOTSUPP", "set");
      mustFail(libc.getxattr(`${dir}/f`, "user.one"), "EOPNOTSUPP", "get");
    }
  },
  verify({ dir }, _facts) {
    assert.deepEqual(
      [...Deno.readDirSync(dir)].filter((e) => e.name === "f").flatMap(() =>
        must(libc.listxattr(`${dir}/f`), "list")
      ),
      [],
    );
  },
};

/** An ACL in its binary form: version 2, then (tag, permissions, id) each. */
function acl(...entries: [tag: number, permissions: number, id?: number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 + entries.length * 8));
  view.setUint32(0, 2, true);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    view.setUint16(4 + index * 8, tag, true);
    view.setUint16(6 + index * 8, permissions, true);
    view.setUint32(8 + index * 8, id ?? 0xffffffff, true);
  }
  return new Uint8Array(view.buffer);
}

const [USER_OBJ, USER, GROUP_OBJ, MASK, OTHER] = [1, 2, 4, 16, 32];

/** With `--posix-acl`: an ACL opens a file for one more user, and a default ACL is inherited. */
export const acls: Workload = {
  name: "posix-acls",
  core: true,
  notFor: ({ posixAcl }) => posixAcl ? null : "POSIX ACLs are off",
  async run({ dir, isVirtiofs }) {
    if (!isVirtiofs) return { isDone: false };
    const path = `${dir}/private`;
    Deno.writeTextFileSync(path, "secret");
    Deno.chmodSync(path, 0o600);
    const read = (uid: number) =>
      perl(`open(my $f, "<", $ARGV[0]) or exit 1; print <$f>`, [path], { uid, gid: uid });
    assert.equal((await read(1001)).code, 1, "0600 keeps others out");
    const access = acl([USER_OBJ, 6], [USER, 4, 1001], [GROUP_OBJ, 0], [MASK, 4], [OTHER, 0]);
    must(libc.setxattr(path, "system.posix_acl_access", access), "set access ACL");
    assert.deepEqual(must(libc.getxattr(path, "system.posix_acl_access"), "get"), access);
    assert.equal((await read(1001)).stdout, "secret", "the ACL lets 1001 in");
    assert.equal((await read(1002)).code, 1, "and nobody else");
    assert.equal(
      must(libc.statx(path), "statx").mode & 0o777,
      0o640,
      "the mask is the group's mode",
    );
    Deno.mkdirSync(`${dir}/d`);
    const inherited = acl([USER_OBJ, 7], [USER, 7, 1001], [GROUP_OBJ, 5], [MASK, 7], [OTHER, 0]);
    must(libc.setxattr(`${dir}/d`, "system.posix_acl_default", inherited), "set default ACL");
    Deno.writeTextFileSync(`${dir}/d/child`, "");
    Deno.mkdirSync(`${dir}/d/sub`);
    const childAcl = must(libc.getxattr(`${dir}/d/child`, "system.posix_acl_access"), "inherited");
    assert.deepEqual(
      childAcl,
      acl([USER_OBJ, 6], [USER, 7, 1001], [GROUP_OBJ, 5], [MASK, 6], [OTHER, 0]),
    );
    assert.deepEqual(libc.getxattr(`${dir}/d/sub`, "system.posix_acl_default"), inherited);
    return { isDone: true };
  },
  verify({ dir }, { isDone }) {
    if (isDone !== true) return;
    const found = must(libc.getxattr(`${dir}/d/child`, "system.posix_acl_access"), "on the host");
    assert.deepEqual(
      found,
      acl([USER_OBJ, 6], [USER, 7, 1001], [GROUP_OBJ, 5], [MASK, 6], [OTHER, 0]),
    );
    assert.equal(must(libc.statx(`${dir}/d/child`), "statx").mode & 0o777, 0o660);
  },
};
