/**
 * The daemon's other options, under its default isolation: `--sandbox namespace --seccomp kill`. A guest at work makes the calls that an option
 * leads to; one that the filter does not know would end the daemon.
 */

import { deepEqual, equal, match } from "node:assert/strict";
import { Guest } from "../../src/guest/guest.ts";
import type { GuestOptions } from "../../src/guest/guest.ts";
import { ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import { Guest as KernelGuest } from "../support/guest.ts";
import { concat, name, words } from "../support/little_endian.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { identity, IsolatedDaemon } from "./isolated_daemon.ts";

const ignore = ignoreWithoutRoot();
const encoder = new TextEncoder();
const GUEST_UID = 1000;
const SET_UID = 0o4755;
/** struct vfs_cap_data, revision 2: cap_chown permitted and effective. */
const CHOWN_CAPABILITY = Uint8Array.of(1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

/** Everyday work of root and of a user of the guest, seen from inside and outside. */
function workEverywhere(guest: Guest, share: string): void {
  guest.mkdirSync("/d");
  guest.chmodSync("/d", 0o777);
  const user = guest.as({ uid: GUEST_UID, gid: GUEST_UID, groups: [4] });
  user.writeTextFileSync("/d/of-the-user", "written");
  const { uid, gid } = Deno.statSync(`${share}/d/of-the-user`);
  deepEqual([uid, gid], [GUEST_UID, GUEST_UID]);
  guest.symlinkSync("of-the-user", "/d/link");
  equal(guest.readLinkSync("/d/link"), "of-the-user");
  guest.linkSync("/d/of-the-user", "/d/hard");
  guest.renameSync("/d/hard", "/d/renamed");
  guest.truncateSync("/d/renamed", 3);
  equal(Deno.readTextFileSync(`${share}/d/of-the-user`), "wri");
  guest.chownSync("/d/renamed", 7, 8);
  guest.chmodSync("/d/renamed", SET_UID);
  guest.utimeSync("/d/renamed", 1, 2);
  {
    using file = guest.openSync("/d/renamed", { read: true, write: true });
    file.writeSync(encoder.encode("W"));
    file.lockSync(true);
    file.unlockSync();
    file.syncSync();
    file.syncDataSync();
  }
  deepEqual([...guest.readDirSync("/d")].map(({ name }) => name).sort(), [
    "link",
    "of-the-user",
    "renamed",
  ]);
  equal(guest.statFsSync("/").blocks > 0, true);
  guest.syncSync();
  equal(guest.existsSync("/d/nothing"), false);
  equal(Deno.readTextFileSync(`${share}/d/renamed`), "Wri");
  guest.removeSync("/d", { recursive: true });
  deepEqual(
    [...Deno.readDirSync(share)].map(({ name }) => name).filter((name) => name === "d"),
    [],
  );
}

/** What a daemon said that is not everyday: the machine's own limit of open files is not its matter. */
function complaints(stderr: string): string {
  return stderr.split("\n").filter((line) => line !== "" && !/^\[\S+ (INFO |DEBUG) /.test(line))
    .filter((line) => !line.includes("The limit of open files is")).join("\n");
}

interface Case {
  readonly args: readonly string[];
  readonly guest?: Partial<GuestOptions>;
  readonly more?: (guest: Guest, daemon: IsolatedDaemon) => void;
}

/** Extended attributes, one of each kind that goes without CAP_SYS_ADMIN. */
function workOnXattrs(guest: Guest): void {
  guest.writeTextFileSync("/x", "");
  guest.setXattrSync("/x", "user.color", encoder.encode("blue"));
  guest.setXattrSync("/x", "security.capability", CHOWN_CAPABILITY);
  deepEqual(guest.listXattrSync("/x").sort(), ["security.capability", "user.color"]);
  deepEqual(guest.getXattrSync("/x", "user.color"), encoder.encode("blue"));
  guest.removeXattrSync("/x", "user.color");
  equal(guest.getXattrSync("/x", "user.color"), null);
}

/** What is written by somebody else loses its set-id bits. */
function loseSetUid(guest: Guest, { share }: IsolatedDaemon): void {
  guest.writeTextFileSync("/tool", "old");
  guest.chmodSync("/tool", 0o4777);
  guest.as({ uid: GUEST_UID, gid: GUEST_UID }).writeTextFileSync("/tool", "new");
  equal(Deno.statSync(`${share}/tool`).mode! & 0o7777, 0o777);
}

/** Of the inodes that the guest knows, how many the server has open. */
function openInodes(daemon: IsolatedDaemon, path: string): number {
  const fds = `/proc/${daemon.serverPid}/fd`;
  const wanted = identity(`${daemon.share}${path}`);
  let count = 0;
  for (const { name } of Deno.readDirSync(fds)) {
    try {
      if (identity(`${fds}/${name}`) === wanted) count++;
    } catch {
      // Closed meanwhile.
    }
  }
  return count;
}

const CASES: readonly Case[] = [
  { args: [] },
  { args: ["--inode-file-handles", "prefer"], more: (guest) => guest.mkdirSync("/again") },
  {
    args: ["--inode-file-handles", "mandatory"],
    more(guest, daemon) {
      guest.mkdirSync("/known");
      equal(openInodes(daemon, "/known"), 0);
    },
  },
  { args: ["--writeback", "--cache", "always"] },
  { args: ["--posix-acl"] },
  { args: ["--xattr"], more: workOnXattrs },
  { args: ["--killpriv-v2"], more: loseSetUid },
  { args: ["--posix-lock", "--flock"] },
  { args: ["--no-readdirplus"] },
  { args: ["--allow-direct-io", "--preserve-noatime"] },
  { args: ["--announce-submounts"] },
  { args: ["--security-label"] },
  { args: ["--cache", "never"] },
  { args: ["--cache", "shared", "--watch-host"] },
  { args: ["--num-request-queues", "3", "--poll-us", "50"], guest: { queueCount: 3 } },
  {
    args: ["--log-level", "debug"],
    more: (_, daemon) => match(daemon.stderr(), /DEBUG .*vhost-user: SET_MEM_TABLE/),
  },
  {
    args: ["--log-level", "trace"],
    more: (_, daemon) => match(daemon.stderr(), /DEBUG .*rx MKDIR/),
  },
  {
    args: ["--rlimit-nofile", "2000"],
    more(_, daemon) {
      const limits = Deno.readTextFileSync(`/proc/${daemon.serverPid}/limits`);
      match(limits, /^Max open files +2000 +2000 /m);
    },
  },
];

for (const { args, guest: options, more } of CASES) {
  Deno.test({
    name: `sandbox: a guest works under ${args.join(" ") || "no other option"}`,
    ignore,
    fn: async () => {
      await using daemon = await IsolatedDaemon.start({ args });
      {
        await using guest = await Guest.connect({ socketPath: daemon.socketPath, ...options });
        workEverywhere(guest, daemon.share);
        more?.(guest, daemon);
      }
      // Without --keep-listening the daemon ends with its front end.
      equal((await daemon.status).code, 0, daemon.stderr());
      equal(complaints(daemon.stderr()), "");
    },
  });
}

/** linux/posix_acl_xattr.h, version 2: rwx for the owner, r for user 1000, r for the group, the mask rw, nothing for others. */
function accessAcl(): Uint8Array {
  const entries = [[1, 7, -1], [2, 4, GUEST_UID], [4, 4, -1], [16, 6, -1], [32, 0, -1]];
  const acl = new DataView(new ArrayBuffer(4 + 8 * entries.length));
  acl.setUint32(0, 2, true);
  entries.forEach(([tag, permissions, id], i) => {
    acl.setUint16(4 + 8 * i, tag!, true);
    acl.setUint16(6 + 8 * i, permissions!, true);
    acl.setInt32(8 + 8 * i, id!, true);
  });
  return new Uint8Array(acl.buffer);
}

Deno.test({
  name: "sandbox: ACLs are set and read by a guest that keeps to them",
  ignore,
  fn: async () => {
    await using daemon = await IsolatedDaemon.start({ args: ["--posix-acl=always"] });
    const path = `${daemon.share}/f`;
    Deno.writeTextFileSync(path, "");
    using guest = KernelGuest.connect(daemon.socketPath);
    const { nodeid } = guest.fuse.lookup(ROOT, "f");
    const acl = accessAcl();
    const attribute = name("system.posix_acl_access");
    const setting = concat(words(acl.length, 0, 0, 0), attribute, acl);
    guest.fuse.ok(OP.SETXATTR, nodeid, setting, { room: 0 });
    // The mask is what the mode shows for the group.
    equal(Deno.statSync(path).mode! & 0o777, 0o760);
    const asking = concat(words(100, 0), attribute);
    deepEqual(guest.fuse.ok(OP.GETXATTR, nodeid, asking, { room: 100 }), acl);
  },
});
