/** The command lines that launchers really use: each must end up as a daemon that waits for its front end. */
import assert from "node:assert/strict";
import { InheritedSocket } from "./listening_fd.ts";
import { run, runDaemon, type RunOptions, Workplace } from "./program.ts";

interface Launch {
  readonly launcher: string;
  /** DIR, SOCK and FD stand for the share, the socket's path and an inherited listening socket. */
  readonly line: string;
  readonly options?: RunOptions;
  /** What stderr must hold besides the phrase. */
  readonly says?: RegExp;
}

const LAUNCHES: readonly Launch[] = [
  {
    launcher: "libvirt, separate options",
    line:
      "--fd=FD --shared-dir DIR --cache always --sandbox chroot --xattr --thread-pool-size=4 --rlimit-nofile=20000 --log-level debug",
    says: /Confined: --sandbox chroot, --seccomp kill/,
  },
  { launcher: "libvirt, read-only", line: "--fd=FD --shared-dir DIR --cache never --readonly" },
  {
    launcher: "libvirt, old style",
    line: "--fd=FD -o source=DIR,cache=always,sandbox=namespace,xattr,no_posix_lock,flock",
    says: /WARN .*-o is deprecated/,
  },
  {
    launcher: "libvirt, old style, debug",
    line: "--fd=FD -o source=DIR,cache=none,no_flock,posix_lock -d",
  },
  {
    launcher: "kata (Go), without its --syslog",
    line: "--cache=auto --shared-dir=DIR --fd=3 --thread-pool-size=1 --announce-submounts",
    options: { through: "exec 3<&FD" },
  },
  {
    launcher: "kata (Rust)",
    line:
      "--socket-path SOCK --shared-dir DIR --cache auto --thread-pool-size=1 -o announce_submounts --xattr",
    says: /INFO .*Waiting for vhost-user socket connection/,
  },
  {
    launcher: "podman machine",
    line: "--sandbox none --socket-path SOCK --shared-dir . --seccomp=none",
    options: { env: { RUST_LOG: "info" } },
  },
  { launcher: "lima", line: "--socket-path SOCK --shared-dir DIR" },
  { launcher: "incus", line: "--socket-path SOCK --shared-dir DIR --cache=never" },
  {
    launcher: "Cloud Hypervisor's users",
    line: "--socket-path=SOCK --shared-dir=DIR --cache=never --thread-pool-size=4 --tag share",
  },
  {
    launcher: "Proxmox",
    line:
      "--fd=FD --shared-dir=DIR --posix-acl --xattr --cache=metadata --allow-direct-io --announce-submounts --inode-file-handles=mandatory",
  },
  {
    launcher: "virtme-ng and small tools",
    line:
      "--socket-path SOCK --shared-dir DIR --sandbox none --readonly --cache auto --announce-submounts -o cache=always",
  },
  {
    launcher: "incus with ids of an unprivileged container",
    line:
      "--socket-path SOCK --shared-dir DIR --cache=never --translate-uid=map:0:1000000:65536 --translate-uid=forbid-guest:65536:4294901759 --translate-gid=map:0:1000000:65536 --translate-gid=forbid-guest:65536:4294901759",
  },
  { launcher: "the deprecated alias", line: "--socket SOCK --shared-dir DIR -f" },
  { launcher: "somebody who says serve", line: "serve --socket-path SOCK --shared-dir DIR" },
];

for (const launch of LAUNCHES) {
  Deno.test(`launcher: ${launch.launcher}`, async () => {
    using place = new Workplace();
    using socket = new InheritedSocket(`${place.directory}/launcher.sock`);
    const filled = (text: string) =>
      text.replaceAll("FD", String(socket.fd)).replaceAll("DIR", place.share)
        .replaceAll("SOCK", place.socket);
    const { through, ...options } = launch.options ?? {};
    const { code, stderr, stdout } = await runDaemon(filled(launch.line).split(" "), {
      cwd: place.share,
      ...options,
      ...(through === undefined ? {} : { through: filled(through) }),
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "");
    assert.doesNotMatch(stderr, / ERROR /);
    if (launch.says !== undefined) assert.match(stderr, launch.says);
  });
}

Deno.test("launcher: podman machine's RUST_LOG=ERROR silences the daemon, which still makes its socket", async () => {
  using place = new Workplace();
  const { code, stderr } = await run(
    ["--sandbox", "none", "--socket-path", place.socket, "--shared-dir", ".", "--seccomp=none"],
    {
      cwd: place.share,
      env: { RUST_LOG: "ERROR" },
      // Polls for the socket as podman does, then ends the daemon; the deadline is the shell's own.
      through:
        `me=$$; (for i in $(seq 200); do [ -S '${place.socket}' ] && break; sleep 0.05; done; kill -TERM $me) &`,
    },
  );
  assert.equal(code, 0);
  assert.equal(stderr, "");
});

Deno.test({
  name: "launcher: libvirt's session mode (id maps) is for ordinary users: root is refused",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    using place = new Workplace();
    using socket = new InheritedSocket(place.socket);
    const { code, stderr } = await run([
      ...[`--fd=${socket.fd}`, "--shared-dir", place.share, "--uid-map=:0:1000:1:"],
      "--gid-map=:0:1000:1:",
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /ERROR .*--uid-map is for ordinary users/);
  },
});
