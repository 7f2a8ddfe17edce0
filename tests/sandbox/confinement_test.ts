import { deepEqual, equal, match, notEqual, ok, throws } from "node:assert/strict";
import { Guest } from "../../src/guest/guest.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { identity, isAlive, IsolatedDaemon, type IsolatedOptions } from "./isolated_daemon.ts";

const ignore = ignoreWithoutRoot();
/** Rust virtiofsd's set; what a thread is born with is all that it can have. */
const KEPT = "00000000880000df";
/** Main thread, queue's thread, V8's and tokio's. */
const THREADS_MIN = 5;

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `sandbox: ${name}`, ignore, fn });
}

/** The namespaces of this test. */
function own(name: string): string {
  return Deno.readLinkSync(`/proc/self/ns/${name}`);
}

for (
  const [mode, separate] of [
    ["namespace", ["mnt", "pid", "net", "ipc"]],
    ["chroot", []],
  ] as const
) {
  test(`${mode}: every thread is confined`, async () => {
    const args = ["--sandbox", mode, "--num-request-queues", "2"];
    await using daemon = await IsolatedDaemon.start({ args });
    const threads = daemon.threads();
    ok(threads.length >= THREADS_MIN, `${threads.length} threads`);
    for (const thread of threads) {
      equal(thread.root, identity(daemon.share));
      deepEqual([thread.noNewPrivs, thread.seccomp], ["1", "2"]);
      const { CapPrm, CapEff, CapBnd, CapInh } = thread.capabilities;
      deepEqual([CapPrm, CapEff, CapBnd, CapInh], [KEPT, KEPT, KEPT, KEPT]);
      for (const [name, link] of Object.entries(thread.namespaces)) {
        if ((separate as readonly string[]).includes(name)) notEqual(link, own(name), name);
        else equal(link, own(name), name);
      }
      deepEqual(thread.aroundDescriptors, []);
    }
  });
}

test("none with a filter: rights are dropped, the root is the host's", async () => {
  await using daemon = await IsolatedDaemon.start({ args: ["--sandbox", "none"] });
  for (const thread of daemon.threads()) {
    equal(thread.root, identity("/"));
    deepEqual([thread.noNewPrivs, thread.seccomp], ["1", "2"]);
    equal(thread.capabilities.CapEff, KEPT);
  }
});

test("namespace: the share's mounts, and those in it, are nodev and nosuid, and else what they were", async () => {
  using tree = new TempTree();
  const inner = tree.directory("inner");
  const mounts = `mount -t tmpfs x "$0" && mount --rbind "$1" "$1" &&
    mount -o remount,bind,ro,noexec "$1" && shift && exec "$@"`;
  const through = ["unshare", "--mount", "sh", "-c", mounts, inner, tree.root];
  await using daemon = await IsolatedDaemon.start({ through, sharedDir: tree.root });
  const lines = Deno.readTextFileSync(`/proc/${daemon.serverPid}/mountinfo`).trim().split("\n");
  const options = lines.map((line) => line.split(" ")[5]!.split(",").slice(0, 4).join());
  deepEqual(options.sort(), ["ro,nosuid,nodev,noexec", "rw,nosuid,nodev,relatime"]);
  await using guest = await Guest.connect({ socketPath: daemon.socketPath });
  throws(() => guest.writeTextFileSync("/f", ""), /EROFS|[Rr]ead-only/);
});

test("the host's root can be shared", async () => {
  await using daemon = await IsolatedDaemon.start({ sharedDir: "/", args: ["--readonly"] });
  equal(daemon.threads()[0]!.root, identity("/"));
  match(daemon.stderr(), /Waiting for/);
});

test("a server that does not answer is killed in the end", async () => {
  await using daemon = await IsolatedDaemon.start();
  const server = daemon.serverPid;
  Deno.kill(server, "SIGSTOP");
  daemon.signal("SIGTERM");
  deepEqual([(await daemon.status).code, isAlive(server)], [128 + 9, false]);
  match(daemon.stderr(), /does not end, and is killed/);
  deepEqual([...Deno.readDirSync(daemon.tree.path("run"))], []);
});

test("--modcaps changes what is kept", async () => {
  const args = ["--modcaps=+sys_admin:-mknod", "--inode-file-handles", "never"];
  await using daemon = await IsolatedDaemon.start({ args });
  for (const thread of daemon.threads()) {
    equal(thread.capabilities.CapEff, "00000000802000db");
  }
});

test("starting with fewer capabilities works, and one line names those that are missing", async () => {
  const through = ["setpriv", "--bounding-set", "-mknod,-setfcap", "--inh-caps", "-mknod,-setfcap"];
  await using daemon = await IsolatedDaemon.start({ through });
  match(daemon.stderr(), /Not permitted, and so gone without: mknod, setfcap/);
  equal(daemon.threads()[0]!.capabilities.CapEff, "00000000000000df");
});

test("SIGTERM ends both in order, with exit code 0 and nothing left", async () => {
  await using daemon = await IsolatedDaemon.start();
  const server = daemon.serverPid;
  ok(isAlive(server));
  equal(Deno.readTextFileSync(`${daemon.socketPath}.pid`), `${daemon.pid}\n`);
  daemon.signal("SIGTERM");
  deepEqual([(await daemon.status).code, isAlive(server)], [0, false]);
  match(daemon.stderr(), /Ended by SIGTERM/);
  deepEqual([...Deno.readDirSync(daemon.tree.path("run"))], []);
});

test("the server goes when the process that started it is killed", async () => {
  for (const mode of ["namespace", "chroot", "none"]) {
    await using daemon = await IsolatedDaemon.start({ args: ["--sandbox", mode] });
    const server = daemon.serverPid;
    // It need not hear of it.
    Deno.kill(server, "SIGSTOP");
    daemon.signal("SIGKILL");
    await daemon.status;
    await daemon.until(() => !isAlive(server), "the server has ended");
  }
});

test("the started process goes when the server is killed, says so and cleans up", async () => {
  await using daemon = await IsolatedDaemon.start();
  Deno.kill(daemon.serverPid, "SIGKILL");
  equal((await daemon.status).code, 128 + 9);
  match(daemon.stderr(), /serving process was killed by signal 9/);
  deepEqual([...Deno.readDirSync(daemon.tree.path("run"))], []);
});

test("a signal while the server starts is not lost", async () => {
  await using daemon = await IsolatedDaemon.start({ socket: ["--socket-path", "run/s"] });
  daemon.signal("SIGINT");
  equal((await daemon.status).code, 0);
  // Relative paths are those of the process that was started.
  deepEqual([...Deno.readDirSync(daemon.tree.path("run"))], []);
});

test("a relative shared directory is the started process's", async () => {
  await using daemon = await IsolatedDaemon.start({ sharedDir: "share" });
  equal(daemon.threads()[0]!.root, identity(daemon.share));
});

test("the server has no descriptor of the launcher's, standard ones included", async () => {
  const through = ["sh", "-c", 'exec 9</etc </etc >>"$0"; exec "$@"'];
  using tree = new TempTree();
  const output = tree.file("output");
  await using daemon = await IsolatedDaemon.start({ through: [...through, output] });
  const fds = `/proc/${daemon.serverPid}/fd`;
  const open = [...Deno.readDirSync(fds)].map(({ name }) => identity(`${fds}/${name}`));
  for (const path of ["/etc", output, daemon.tree.path("stderr")]) {
    equal(open.includes(identity(path)), false, path);
  }
  equal(Deno.readLinkSync(`${fds}/0`), "/dev/null");
  match(daemon.stderr(), /Waiting for vhost-user socket connection/, "its log is passed on");
});

test("the server's log is passed on whole", async () => {
  await using daemon = await IsolatedDaemon.start({ args: ["--log-level", "trace"] });
  await using guest = await Guest.connect({ socketPath: daemon.socketPath, cache: "none" });
  const { requests } = guest.traffic.find(({ name }) => name === "GETATTR") ?? { requests: 0 };
  for (let i = 0; i < 3000; i++) guest.statSync("/");
  const sent = guest.traffic.find(({ name }) => name === "GETATTR")!.requests - requests;
  await guest.close();
  equal((await daemon.status).code, 0);
  const lines = daemon.stderr().split("\n").filter((line) => line.includes("GETATTR"));
  ok(sent >= 3000 && lines.length >= sent, `${lines.length} lines of ${sent} requests`);
});

/** Starts a daemon that cannot be, and returns its exit code and what it said. */
async function refused(options: IsolatedOptions): Promise<[number, string]> {
  await using daemon = await IsolatedDaemon.start(options);
  return [(await daemon.status).code, daemon.stderr()];
}

test("where there are no namespaces, one line says which option goes without", async () => {
  const through = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
  const [code, said] = await refused({ through });
  equal(code, 1);
  match(said, /ERROR virtiofsd_ts\] --sandbox namespace is refused: EPERM .*--sandbox chroot/);
});

test("more options than can be passed on are one line", async () => {
  const rules = Array.from({ length: 2500 }, (_, i) => `map:${3 * i}:${100_000 + 3 * i}:1`);
  const args = rules.flatMap((rule) => ["--translate-uid", rule]);
  const [code, said] = await refused({ args });
  equal(code, 1);
  deepEqual(said.match(/ERROR.*/g)?.length, 1, said);
  match(said, /ERROR virtiofsd_ts\] The options are too long/);
});

test("maps of ids are for ordinary users", async () => {
  const [code, said] = await refused({ args: ["--uid-map", ":0:1000:1:"] });
  equal(code, 1);
  match(said, /--uid-map is for ordinary users/);
});

test("capabilities that there are not are refused", async () => {
  const [code, said] = await refused({ args: ["--modcaps", "+fly"] });
  equal(code, 1);
  match(said, /there is no capability fly/);
});
