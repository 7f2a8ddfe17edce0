import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { Guest, type GuestOptions } from "../../mod.ts";
import { Subject } from "../../src/cli/subject.ts";
import { closeSession, openSession } from "../../src/guest/session.ts";
import { GuestCalls } from "../../src/guest/vfs/calls.ts";
import { Process } from "../../src/guest/vfs/process.ts";

/** A directory, a table of versions, and daemons of both. */
class SharedTree implements AsyncDisposable {
  readonly directory: string;
  readonly #table = `/dev/shm/virtiofsd-ts-guest-test-${crypto.randomUUID()}`;
  readonly #subjects: Subject[] = [];
  readonly #guests: Guest[] = [];

  constructor() {
    this.directory = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "virtiofsd-ts-shared-" });
    Deno.chmodSync(this.directory, 0o755);
  }

  /** A daemon's socket. */
  async daemon(...args: string[]): Promise<string> {
    const versions = ["--cache", "shared", "--version-table", this.#table];
    const subject = await Subject.open({
      kind: "directory",
      directory: this.directory,
      args: [...versions, "--version-slots", "4096", ...args],
    });
    this.#subjects.push(subject);
    return subject.socketPath;
  }

  /** A guest of a daemon of its own. */
  async guest(
    options: Omit<GuestOptions, "socketPath"> = {},
    ...args: string[]
  ): Promise<Guest> {
    const socketPath = await this.daemon(...args);
    const guest = await Guest.connect({ socketPath, cache: "shared", ...options });
    this.#guests.push(guest);
    return guest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const guest of this.#guests) await guest.close();
    for (const subject of this.#subjects) await subject.close();
    Deno.removeSync(this.directory, { recursive: true });
    for (const path of [this.#table, `${this.#table}.registry`]) Deno.removeSync(path);
  }
}

/** All requests so far. */
function asked(guest: Guest): number {
  return guest.traffic.reduce((all, { requests }) => all + requests, 0);
}

/** What `act` asks the daemon, by opcode. */
function requestsOf(guest: Guest, act: () => void): Record<string, number> {
  const before = new Map(guest.traffic.map(({ name, requests }) => [name, requests]));
  act();
  const made: Record<string, number> = {};
  for (const { name, requests } of guest.traffic) {
    const more = requests - (before.get(name) ?? 0);
    if (more > 0) made[name] = more;
  }
  return made;
}

/** That something asks nobody, and what it comes to. */
function silently<T>(guest: Guest, act: () => T): T {
  const before = asked(guest);
  const value = act();
  equal(asked(guest) - before, 0, "nobody was asked");
  return value;
}

const names = (guest: Guest, path: string) =>
  [...guest.readDirSync(path)].map(({ name }) => name).sort();
const exists = (guest: Guest, path: string) => {
  try {
    guest.statSync(path);
    return true;
  } catch {
    return false;
  }
};

Deno.test("two guests of two daemons: a change is seen at the next look, and all looks before it ask nobody", async () => {
  await using tree = new SharedTree();
  Deno.mkdirSync(`${tree.directory}/d`);
  Deno.writeTextFileSync(`${tree.directory}/d/file`, "old");
  Deno.symlinkSync("file", `${tree.directory}/d/link`);
  const one = await tree.guest();
  const two = await tree.guest();
  const look = () => ({
    size: one.statSync("/d/file").size,
    text: one.readLinkSync("/d/link"),
    names: names(one, "/d"),
    absent: exists(one, "/d/new"),
  });
  const before = look();
  deepEqual(before, { size: 3, text: "file", names: ["file", "link"], absent: false });
  silently(one, () => {
    for (let i = 0; i < 1000; i++) deepEqual(look(), before);
  });

  two.writeTextFileSync("/d/file", "newer");
  equal(one.statSync("/d/file").size, 5);
  equal(one.readTextFileSync("/d/file"), "newer");
  two.renameSync("/d/file", "/d/new");
  equal(exists(one, "/d/file"), false);
  ok(exists(one, "/d/new"));
  deepEqual(names(one, "/d"), ["link", "new"]);
  two.removeSync("/d/link");
  two.symlinkSync("new", "/d/link");
  equal(one.readLinkSync("/d/link"), "new");
  two.chmodSync("/d", 0o700);
  equal(one.statSync("/d").mode! & 0o777, 0o700);
  two.mkdirSync("/d/sub");
  ok(one.statSync("/d/sub").isDirectory);
  two.removeSync("/d/sub");
  equal(exists(one, "/d/sub"), false);
  silently(one, () => equal(exists(one, "/d/sub"), false));
});

Deno.test("data stays cached over an open while nobody writes, and goes when somebody does", async () => {
  await using tree = new SharedTree();
  Deno.writeTextFileSync(`${tree.directory}/file`, "a".repeat(10_000));
  const one = await tree.guest();
  const two = await tree.guest();
  const reads = () => requestsOf(one, () => one.readTextFileSync("/file")).READ ?? 0;
  ok(reads() > 0);
  equal(reads(), 0, "another open, the same version");
  const open = one.openSync("/file");
  const into = new Uint8Array(1);
  two.writeTextFileSync("/file", "b".repeat(10_000));
  equal(open.readSync(into), 1);
  equal(into[0], 0x62, "the file is open, and its pages were here");
  open.close();
  two.truncateSync("/file", 3);
  equal(one.readTextFileSync("/file"), "bbb");
  equal(reads(), 0);
});

Deno.test("own changes leave what is known of the directory and of other files as it is", async () => {
  await using tree = new SharedTree();
  Deno.mkdirSync(`${tree.directory}/d`);
  const guest = await tree.guest({ uid: 0, gid: 0 });
  for (let i = 0; i < 10; i++) guest.writeTextFileSync(`/d/${i}`, "text");
  names(guest, "/d");
  for (let i = 0; i < 10; i++) guest.statSync(`/d/${i}`);
  guest.writeTextFileSync("/d/more", "text");
  guest.mkdirSync("/d/sub");
  guest.renameSync("/d/0", "/d/zero");
  guest.removeSync("/d/1");
  guest.chmodSync("/d/2", 0o600);
  silently(guest, () => {
    for (let i = 3; i < 10; i++) equal(guest.statSync(`/d/${i}`).size, 4);
    equal(guest.statSync("/d/2").mode! & 0o777, 0o600);
    ok(guest.statSync("/d/sub").isDirectory);
  });
  deepEqual(requestsOf(guest, () => equal(guest.statSync("/d/zero").size, 4)), { GETATTR: 1 });
});

/** What the RFC's small-file benchmark does, as a program of a guest. */
function smallFiles(guest: Guest): void {
  const count = 20;
  guest.mkdirSync("/w");
  for (let i = 0; i < count; i++) guest.writeFileSync(`/w/${i}`, new Uint8Array(1024));
  for (const { name } of guest.readDirSync("/w")) guest.lstatSync(`/w/${name}`);
  for (let i = 0; i < count; i++) equal(guest.readFileSync(`/w/${i}`).length, 1024);
  for (let i = 0; i < count; i++) {
    guest.writeFileSync(`/w/${i}`, new Uint8Array(1024), { append: true });
  }
  for (let i = 0; i < count; i++) guest.renameSync(`/w/${i}`, `/w/r${i}`);
  for (const { name } of guest.readDirSync("/w")) guest.lstatSync(`/w/${name}`);
  for (let i = 0; i < count; i++) guest.removeSync(`/w/r${i}`);
  guest.removeSync("/w");
}

for (const writeback of [false, true]) {
  Deno.test(`small files take about as many requests as where everything is believed (${writeback ? "" : "no "}write-back)`, async () => {
    await using tree = new SharedTree();
    const args = writeback ? ["--writeback"] : [];
    const always = await tree.guest({ cache: "always", writeback }, ...args);
    const shared = await tree.guest({ cache: "shared", writeback }, ...args);
    const count = (guest: Guest) =>
      Object.values(requestsOf(guest, () => smallFiles(guest))).reduce((a, b) => a + b, 0);
    const believed = count(always);
    const proven = count(shared);
    ok(proven <= believed * 1.1, `${proven} requests, ${believed} where everything is believed`);
  });
}

Deno.test("..: a directory that another guest has moved is asked for its parent, and told even if that is new here", async () => {
  await using tree = new SharedTree();
  const b = await tree.guest();
  b.mkdirSync("/p/d", { recursive: true });
  b.mkdirSync("/q/deep", { recursive: true });
  for (const directory of ["/p", "/q/deep"]) b.writeTextFileSync(`${directory}/x`, directory);
  const identity = { uid: 0, gid: 0, groups: [], umask: 0o022, pid: Deno.pid };
  const session = await openSession(
    { socketPath: await tree.daemon(), cache: "shared" },
    identity,
  );
  try {
    session.volume.root.holds++;
    const a = new GuestCalls(session.volume, new Process(identity, session.volume.root));
    const read = (path: string) => {
      const fd = a.open(path, 0);
      const bytes = new Uint8Array(64);
      const size = a.read(fd, bytes);
      a.close(fd);
      return new TextDecoder().decode(bytes.subarray(0, size));
    };
    equal(a.chdir("/p/d"), 0);
    equal(read("../x"), "/p");
    b.renameSync("/p/d", "/q/deep/d");
    equal(read("../x"), "/q/deep");
    equal(read("../../deep/x"), "/q/deep");
  } finally {
    await closeSession(session);
  }
});

Deno.test("write-back: what is kept back is sent when somebody else has changed the file, and both are there", async () => {
  await using tree = new SharedTree();
  const page = 4096;
  Deno.writeFileSync(`${tree.directory}/file`, new Uint8Array(2 * page));
  const one = await tree.guest({}, "--writeback");
  const two = await tree.guest({ writeback: false }, "--writeback");
  using ours = one.openSync("/file", { read: true, write: true });
  using theirs = two.openSync("/file", { read: true, write: true });
  ours.writeSync(new Uint8Array(page).fill(1));
  theirs.seekSync(page, 0);
  theirs.writeSync(new Uint8Array(page).fill(2));
  const seen = one.readFileSync("/file");
  equal(seen[0], 1);
  equal(seen[page], 2);
  deepEqual(two.readFileSync("/file"), seen);
});

Deno.test("DAX: what one guest writes the other sees, its size as well", async () => {
  await using tree = new SharedTree();
  const window = ["--dax", "always", "--dax-window", "8M"];
  const one = await tree.guest({ dax: "always" }, ...window);
  const two = await tree.guest({ dax: "always" }, ...window);
  one.writeTextFileSync("/file", "one");
  equal(two.readTextFileSync("/file"), "one");
  for (const text of ["two, longer", "3", "four", ""]) {
    one.writeTextFileSync("/file", text);
    equal(two.statSync("/file").size, text.length);
    equal(two.readTextFileSync("/file"), text);
  }
});

Deno.test("a full table: what has no slot is asked for each time", async () => {
  await using tree = new SharedTree();
  const one = await tree.guest({}, "--version-slots", "512");
  const two = await tree.guest({}, "--version-slots", "512");
  for (let i = 0; i < 600; i++) Deno.writeTextFileSync(`${tree.directory}/${i}`, "x");
  for (let i = 0; i < 600; i++) equal(one.statSync(`/${i}`).size, 1);
  const again = requestsOf(one, () => {
    for (let i = 0; i < 600; i++) one.statSync(`/${i}`);
  });
  ok((again.GETATTR ?? 0) > 80, JSON.stringify(again));
  for (let i = 0; i < 600; i++) two.writeTextFileSync(`/${i}`, "longer");
  for (let i = 0; i < 600; i++) {
    equal(one.statSync(`/${i}`).size, 6);
    equal(one.readTextFileSync(`/${i}`), "longer");
  }
});

Deno.test("a daemon without versions: one warning, and every look asks", async () => {
  const directory = Deno.makeTempDirSync({ dir: "/var/tmp" });
  const subject = await Subject.open({ kind: "directory", directory, args: ["--cache", "auto"] });
  try {
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    const { socketPath } = subject;
    await using guest = await Guest.connect({ socketPath, cache: "shared", warn });
    deepEqual(warnings, [
      "The daemon keeps no shared versions (--cache shared), so nothing is cached",
    ]);
    Deno.writeTextFileSync(`${directory}/file`, "one");
    equal(guest.readTextFileSync("/file"), "one");
    Deno.writeTextFileSync(`${directory}/file`, "three");
    equal(guest.statSync("/file").size, 5);
    equal(guest.readTextFileSync("/file"), "three");
    Deno.removeSync(`${directory}/file`);
    throws(() => guest.statSync("/file"));
    deepEqual(names(guest, "/"), []);
  } finally {
    await subject.close();
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("after its end a guest looks at no table", async () => {
  await using tree = new SharedTree();
  Deno.writeTextFileSync(`${tree.directory}/file`, "x");
  const guest = await tree.guest();
  guest.statSync("/file");
  guest.statSync("/file");
  await guest.close();
  throws(() => guest.statSync("/file"), /the guest was closed/);
});
