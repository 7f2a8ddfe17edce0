/**
 * Extended attributes.
 *
 * @module
 */

import type { Add, Need } from "../check.ts";
import { pattern } from "../content.ts";
import { O, XATTR } from "../linux_constants.ts";
import { ALICE, BOB, KINDS, type Scope } from "../scope.ts";
import { sys } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

const room = () => new Uint8Array(65536);
const nothing = new Uint8Array(0);

function get(t: Scope, path: string, name: string): Uint8Array {
  const buffer = room();
  return buffer.subarray(0, t.ok(sys.getxattr(path, name, buffer), `getxattr ${name}`));
}

function text(t: Scope, path: string, name: string): string {
  return new TextDecoder().decode(get(t, path, name));
}

/** Names in the "user." space; a system may add some of its own elsewhere. */
function list(t: Scope, path: string, prefix = "user."): string {
  const buffer = room();
  const size = t.ok(sys.llistxattr(path, buffer), "llistxattr");
  return new TextDecoder().decode(buffer.subarray(0, size)).split("\0")
    .filter((name) => name.startsWith(prefix)).sort().join();
}

function userSpace(add: Add): void {
  for (const kind of ["regular", "dir"] as const) {
    const make = (t: Scope) => t.make(kind, t.path("x"));
    for (const size of [0, 1, 255, 1000, 2500]) {
      add(`setxattr: a value of ${size} bytes on a ${kind}`, (t) => {
        make(t);
        const value = pattern(size);
        t.ok(sys.setxattr(t.path("x"), "user.k", value), "setxattr");
        t.equal(get(t, t.path("x"), "user.k").join(), value.join(), "value");
        t.equal(sys.getxattr(t.path("x"), "user.k", nothing), size, "asked size");
      }, "xattr");
    }
    add(`setxattr: CREATE and REPLACE on a ${kind}`, (t) => {
      make(t);
      const set = (value: string, flags: number) =>
        sys.setxattr(t.path("x"), "user.k", value, flags);
      t.errno(set("1", XATTR.REPLACE), "ENODATA", "REPLACE of nothing");
      t.ok(set("2", XATTR.CREATE), "CREATE");
      t.errno(set("3", XATTR.CREATE), "EEXIST", "CREATE again");
      t.equal(text(t, t.path("x"), "user.k"), "2", "value");
      t.ok(set("4", XATTR.REPLACE), "REPLACE");
      t.ok(set("5", 0), "either");
      t.equal(text(t, t.path("x"), "user.k"), "5", "value");
      t.errno(set("6", 4), "EINVAL", "an unknown flag");
    }, "xattr");
    add(`removexattr: on a ${kind}, ENODATA the second time`, (t) => {
      make(t);
      t.ok(sys.setxattr(t.path("x"), "user.k", "v"), "setxattr");
      t.ok(sys.removexattr(t.path("x"), "user.k"), "removexattr");
      t.errno(sys.removexattr(t.path("x"), "user.k"), "ENODATA", "removexattr");
      t.errno(sys.getxattr(t.path("x"), "user.k", room()), "ENODATA", "getxattr");
    }, "xattr");
    add(`getxattr and listxattr: ERANGE for too small a buffer on a ${kind}`, (t) => {
      make(t);
      t.ok(sys.setxattr(t.path("x"), "user.k", "value"), "setxattr");
      t.errno(sys.getxattr(t.path("x"), "user.k", new Uint8Array(4)), "ERANGE", "getxattr");
      t.equal(sys.getxattr(t.path("x"), "user.k", new Uint8Array(5)), 5, "getxattr that fits");
      t.errno(sys.listxattr(t.path("x"), new Uint8Array(3)), "ERANGE", "listxattr");
      t.equal(
        sys.listxattr(t.path("x"), nothing),
        sys.listxattr(t.path("x"), room()),
        "asked size",
      );
    }, "xattr");
    add(`listxattr: every name on a ${kind}`, (t) => {
      make(t);
      t.equal(list(t, t.path("x")), "", "at first");
      const names = Array.from({ length: 20 }, (_, i) => `user.name-${String(i).padStart(2, "0")}`);
      for (const name of names) t.ok(sys.setxattr(t.path("x"), name, name), "setxattr");
      t.equal(list(t, t.path("x")), names.join(), "names");
      for (const name of names) t.equal(text(t, t.path("x"), name), name, "value");
    }, "xattr");
    add(`setxattr: names of 255 bytes, ERANGE for 256, on a ${kind}`, (t) => {
      make(t);
      const longest = "user." + "n".repeat(250);
      t.ok(sys.setxattr(t.path("x"), longest, "v"), "setxattr");
      t.equal(list(t, t.path("x")), longest, "names");
      t.errno(sys.setxattr(t.path("x"), longest + "n", "v"), "ERANGE", "setxattr");
    }, "xattr");
    add(`setxattr: E2BIG for 65537 bytes on a ${kind}`, (t) => {
      make(t);
      t.errno(sys.setxattr(t.path("x"), "user.k", pattern(65537)), ["E2BIG"], "setxattr");
    }, "xattr");
    add(`setxattr: through an fd of a ${kind}`, (t) => {
      const fd = t.open(make(t), O.RDONLY);
      t.ok(sys.fsetxattr(fd, "user.k", "v"), "fsetxattr");
      t.equal(sys.fgetxattr(fd, "user.k", room()), 1, "fgetxattr");
      t.that(sys.flistxattr(fd, room()) >= 7, "flistxattr");
      t.ok(sys.fremovexattr(fd, "user.k"), "fremovexattr");
      t.errno(sys.fgetxattr(fd, "user.k", room()), "ENODATA", "fgetxattr");
    }, "xattr");
    add(`setxattr: through a symbolic link to a ${kind}`, (t) => {
      make(t);
      t.ok(sys.symlink("x", t.path("s")), "symlink");
      t.ok(sys.setxattr(t.path("s"), "user.k", "v"), "setxattr");
      t.equal(text(t, t.path("x"), "user.k"), "v", "value");
      t.errno(sys.lgetxattr(t.path("s"), "user.k", room()), ["ENODATA", "EPERM"], "lgetxattr");
    }, "xattr");
    add(
      `setxattr: EACCES without write permission on a ${kind}`,
      (t) => {
        t.make(kind, t.path("x"), 0o755, BOB);
        t.ok(sys.setxattr(t.path("x"), "user.k", "v"), "setxattr");
        t.as(ALICE, () => {
          t.errno(sys.setxattr(t.path("x"), "user.k", "w"), "EACCES", "setxattr");
          t.errno(sys.removexattr(t.path("x"), "user.k"), "EACCES", "removexattr");
          t.equal(text(t, t.path("x"), "user.k"), "v", "value");
        });
        t.ok(sys.chmod(t.path("x"), 0o733), "chmod");
        t.as(ALICE, () => {
          t.errno(sys.getxattr(t.path("x"), "user.k", room()), "EACCES", "getxattr");
          t.ok(sys.setxattr(t.path("x"), "user.k", "w"), "setxattr");
        });
      },
      "xattr",
      "root",
    );
    for (const name of ["none", "unknown.k", "user."]) {
      add(`setxattr: refuses the name ${name} on a ${kind}`, (t) => {
        make(t);
        t.errno(sys.setxattr(t.path("x"), name, "v"), ["EOPNOTSUPP", "EINVAL"], "setxattr");
      }, "xattr");
    }
    add(`setxattr: ERANGE for the empty name on a ${kind}`, (t) => {
      make(t);
      t.errno(sys.setxattr(t.path("x"), "", "v"), "ERANGE", "setxattr");
    }, "xattr");
    add(`xattr: stay with a ${kind} through a rename`, (t) => {
      make(t);
      t.ok(sys.setxattr(t.path("x"), "user.k", "v"), "setxattr");
      t.ok(sys.rename(t.path("x"), t.path("y")), "rename");
      t.equal(text(t, t.path("y"), "user.k"), "v", "value");
      make(t);
      t.errno(sys.getxattr(t.path("x"), "user.k", room()), "ENODATA", "a new file");
    }, "xattr");
  }
  add("lsetxattr: EPERM in the user space of a socket, or kept where the kernel allows it", (t) => {
    t.make("socket", t.path("x"));
    const result = sys.lsetxattr(t.path("x"), "user.k", "v");
    // Linux 7 allows these; older kernels refuse.
    if (result < 0) t.errno(result, "EPERM", "lsetxattr");
    else t.equal(sys.lgetxattr(t.path("x"), "user.k", room()), 1, "lgetxattr");
  }, "xattr");
  for (const kind of KINDS.filter((k) => !["regular", "dir", "socket"].includes(k))) {
    add(
      `lsetxattr: EPERM in the user space of a ${kind}`,
      (t) => {
        t.make(kind, t.path("x"));
        t.errno(sys.lsetxattr(t.path("x"), "user.k", "v"), "EPERM", "lsetxattr");
        t.errno(sys.lremovexattr(t.path("x"), "user.k"), "EPERM", "lremovexattr");
        t.errno(sys.lgetxattr(t.path("x"), "user.k", room()), "ENODATA", "lgetxattr");
      },
      "xattr",
      ...needsOf(kind),
    );
  }
  add("xattr: shared by all names of a file, kept by an unlinked one", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.link(t.path("x"), t.path("y")), "link");
    t.ok(sys.setxattr(t.path("x"), "user.k", "v"), "setxattr");
    t.equal(text(t, t.path("y"), "user.k"), "v", "value");
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.ok(sys.unlink(t.path("y")), "unlink");
    t.equal(sys.fgetxattr(fd, "user.k", room()), 1, "fgetxattr");
  }, "xattr");
  add(
    "xattr: others may not set them in a sticky directory they do not own",
    (t) => {
      t.directory("d", 0o1777, BOB);
      t.errno(t.as(ALICE, () => sys.setxattr(t.path("d"), "user.k", "v")), "EPERM", "setxattr");
    },
    "xattr",
    "root",
  );
}

function trustedSpace(add: Add): void {
  for (const kind of KINDS) {
    const needs: Need[] = ["trusted-xattr", "xattr", "root", ...needsOf(kind)];
    add(`lsetxattr: root in the trusted space of a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      t.ok(sys.lsetxattr(t.path("x"), "trusted.k", "value"), "lsetxattr");
      t.equal(sys.lgetxattr(t.path("x"), "trusted.k", room()), 5, "lgetxattr");
      t.equal(list(t, t.path("x"), "trusted.k"), "trusted.k", "names");
      t.ok(sys.lremovexattr(t.path("x"), "trusted.k"), "lremovexattr");
      t.equal(list(t, t.path("x"), "trusted.k"), "", "names");
    }, ...needs);
    add(`lsetxattr: a user sees no trusted space of a ${kind}`, (t) => {
      t.make(kind, t.path("x"), 0o777, ALICE);
      t.ok(sys.lsetxattr(t.path("x"), "trusted.k", "value"), "lsetxattr");
      t.as(ALICE, () => {
        t.errno(sys.lsetxattr(t.path("x"), "trusted.k", "w"), "EPERM", "lsetxattr");
        t.errno(sys.lgetxattr(t.path("x"), "trusted.k", room()), ["ENODATA", "EPERM"], "lgetxattr");
        t.errno(sys.lremovexattr(t.path("x"), "trusted.k"), "EPERM", "lremovexattr");
      });
    }, ...needs);
  }
}

/** Adds the family. */
export function xattrsChecks(add: Add): void {
  userSpace(add);
  trustedSpace(add);
}
