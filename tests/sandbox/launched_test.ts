/** What launchers and service managers hand to a daemon, and how it does under its default isolation. */

import { deepEqual, equal, ok } from "node:assert/strict";
import { CAPABILITIES } from "../../src/cli/capabilities.ts";
import { Guest } from "../../src/guest/guest.ts";
import { InheritedSocket } from "../cli/listening_fd.ts";
import { run } from "../cli/program.ts";
import { ROOT } from "../support/fuse_client.ts";
import { Guest as KernelGuest } from "../support/guest.ts";
import { text } from "../support/little_endian.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { IsolatedDaemon } from "./isolated_daemon.ts";
import { SystemLog } from "./system_log.ts";

/** linux/fuse.h: FUSE_ATTR_SUBMOUNT. */
const ATTR_SUBMOUNT = 1;

const ignore = ignoreWithoutRoot();

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `sandbox: ${name}`, ignore, fn });
}

test("--fd: a launcher's socket is served, and its name is left alone", async () => {
  using place = new TempTree();
  const socketPath = place.path("launchers");
  using socket = new InheritedSocket(socketPath);
  await using daemon = await IsolatedDaemon.start({ socket: ["--fd", `${socket.fd}`] });
  {
    await using guest = await Guest.connect({ socketPath });
    guest.writeTextFileSync("/f", "by descriptor");
  }
  equal((await daemon.status).code, 0, daemon.stderr());
  equal(Deno.readTextFileSync(`${daemon.share}/f`), "by descriptor");
  deepEqual([...Deno.readDirSync(place.root)].map(({ name }) => name), ["launchers"]);
});

test("--keep-listening: one front end after another", async () => {
  await using daemon = await IsolatedDaemon.start({ args: ["--keep-listening"] });
  const server = daemon.serverPid;
  const { socketPath } = daemon;
  for (let i = 0; i < 4; i++) {
    await using guest = await Guest.connect({ socketPath });
    guest.writeTextFileSync(`/f${i}`, `${i}`);
    equal(Deno.readTextFileSync(`${daemon.share}/f${i}`), `${i}`);
    if (i > 0) equal(guest.readTextFileSync(`/f${i - 1}`), `${i - 1}`);
  }
  equal(daemon.serverPid, server);
  daemon.signal("SIGTERM");
  equal((await daemon.status).code, 0, daemon.stderr());
});

test("--socket-group: the socket is the group's", async () => {
  await using daemon = await IsolatedDaemon.start({ args: ["--socket-group", "daemon"] });
  const { mode, gid } = Deno.statSync(daemon.socketPath);
  deepEqual([mode! & 0o7777, gid !== Deno.gid()], [0o770, true]);
  await using guest = await Guest.connect({ socketPath: daemon.socketPath });
  guest.mkdirSync("/d");
});

test("--print-capabilities needs neither a share nor a sandbox", async () => {
  const { code, stdout, stderr } = await run(["--print-capabilities"], {
    through: 'exec setpriv --bounding-set -all --inh-caps -all "$@"',
  });
  deepEqual([code, stderr, JSON.parse(stdout)], [0, "", CAPABILITIES]);
});

/** Mounts of its own; `$0` is a directory with a file for each device and the system log's socket. */
const OTHER_DEVICES = `
set -e
for name in null zero full random urandom tty fuse; do
  : > "$0/$name"; mount --bind "/dev/$name" "$0/$name"
done
ln -s /proc/self/fd "$0/fd"; mkdir "$0/shm"; mount -t tmpfs none "$0/shm"
mount --rbind "$0" /dev
exec "$@"`;

test("--syslog: both processes write to the system log, under the number that was started", async () => {
  using devices = new TempTree("vfsd-dev-");
  using log = new SystemLog(devices.path("log"));
  await using daemon = await IsolatedDaemon.start({
    through: ["unshare", "--mount", "sh", "-c", OTHER_DEVICES, devices.root],
    args: ["--syslog"],
    isReady: () => log.has("Waiting for vhost-user"),
  });
  {
    await using guest = await Guest.connect({ socketPath: daemon.socketPath });
    guest.mkdirSync("/d");
  }
  equal((await daemon.status).code, 0, daemon.stderr());
  equal(log.has("Front end disconnected"), true);
  equal(daemon.stderr(), "");
  for (const line of log.lines) ok(line.includes(`virtiofsd-ts[${daemon.pid}]: `), line);
});

/** Mounts of its own, shared with those that come from it; `$0` is the share. */
const WITH_MOUNT = `
set -e
mount --make-rshared /
mkdir "$0/inner" "$0/later"
mount -t tmpfs inner "$0/inner"
echo inside > "$0/inner/f"
exec "$@"`;

test("--announce-submounts: mounts inside the share are there, also those that come later", async () => {
  using tree = new TempTree();
  await using daemon = await IsolatedDaemon.start({
    through: ["unshare", "--mount", "sh", "-c", WITH_MOUNT, tree.root],
    sharedDir: tree.root,
    args: ["--announce-submounts", "--inode-file-handles", "prefer", "--cache", "never"],
  });
  using guest = KernelGuest.connect(daemon.socketPath);
  const { fuse } = guest;
  const inner = fuse.lookup(ROOT, "inner");
  equal(inner.attr.flags & ATTR_SUBMOUNT, ATTR_SUBMOUNT);
  const file = fuse.lookup(inner.nodeid, "f");
  const fh = fuse.open(file.nodeid);
  deepEqual(fuse.read(file.nodeid, fh, 0n, 100), text("inside\n"));
  equal(fuse.lookup(ROOT, "later").attr.flags & ATTR_SUBMOUNT, 0);
  const enter = ["--mount", "--target", `${daemon.pid}`];
  const mount = ["mount", "-t", "tmpfs", "later", tree.path("later")];
  const { code } = await new Deno.Command("nsenter", { args: [...enter, ...mount] }).output();
  equal(code, 0);
  const later = fuse.lookup(ROOT, "later");
  equal(later.attr.flags & ATTR_SUBMOUNT, ATTR_SUBMOUNT);
  fuse.mkdir(later.nodeid, "d");
  // Outside of that namespace nothing is mounted.
  deepEqual([...Deno.readDirSync(tree.path("later"))], []);
});
