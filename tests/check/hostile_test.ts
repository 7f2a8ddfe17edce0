/**
 * The hostile guest, small. More of it: VIRTIOFSD_TS_HOSTILE_SCALE=1 deno test -A tests/check/hostile_test.ts
 */

import { doesNotMatch, equal, match, throws } from "node:assert/strict";
import { Tally } from "../../src/check/hostile/attack.ts";
import { Auditor } from "../../src/check/hostile/auditor.ts";
import { ATTACKS, outcomeOf } from "../../src/check/hostile/run.ts";
import { SecondProcess } from "../../src/check/hostile/second_process.ts";
import { Secrets } from "../../src/check/hostile/secrets.ts";
import { SharedMemory } from "../../src/guest/frontend/shared_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { RunningProgram } from "../cli/program.ts";
import { OrdinaryUser, USER } from "../sandbox/ordinary_user.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { until } from "../support/daemon.ts";
import { concat, words } from "../support/little_endian.ts";
import { TempTree } from "../support/temp_tree.ts";

const SCALE = Deno.env.get("VIRTIOFSD_TS_HOSTILE_SCALE") ?? "0.01";
const DEADLINE_MS = 600_000;

interface Report {
  readonly name: string;
  readonly outcome: string;
  readonly rounds: number;
  readonly violations: readonly string[];
  readonly remarks: readonly string[];
  readonly race: { readonly done: number; readonly served: number } | null;
  readonly neighbour: { readonly visits: number; readonly worstMs: number };
  readonly nextGuestMs: number | null;
}

async function check(...args: readonly string[]): Promise<{ code: number; reports: Report[] }> {
  const program = new RunningProgram(["check", "hostile", "--json", "--scale", SCALE, ...args]);
  const { code, stdout, stderr } = await program.outcome(DEADLINE_MS);
  equal(stderr, "");
  return { code, reports: stdout.trim().split("\n").map((line) => JSON.parse(line)) };
}

for (
  const [name, options] of [
    ["no sandbox", ["--sandbox", "none"]],
    ["the default sandbox", []],
  ] as const
) {
  Deno.test(`a hostile guest gets nowhere, with ${name}`, () => getsNowhere(options));
}

Deno.test({
  name: "a hostile guest of an ordinary user's daemon gets nowhere",
  ignore: ignoreWithoutRoot(),
  async fn() {
    using user = await OrdinaryUser.open();
    const attacks = "names,names-that-change,symlink-races,special-file-races,forged-nodes";
    const { success, stdout, stderr } = await new Deno.Command("setpriv", {
      args: [
        ...[`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", user.program],
        ...["check", "hostile", "--json", "--scale", SCALE, "--attacks", attacks],
      ],
      cwd: "/",
      env: { TMPDIR: "/tmp" },
    }).output();
    const text = new TextDecoder().decode(stdout);
    equal(success, true, text + new TextDecoder().decode(stderr));
    equal(text.trim().split("\n").length, 5);
  },
});

async function getsNowhere(options: readonly string[]): Promise<void> {
  const { code, reports } = await check(...options);
  const complaints = reports.flatMap(({ name, violations }) =>
    violations.map((v) => `${name}: ${v}`)
  );
  equal(complaints.join("\n"), "");
  equal(code, 0);
  equal(reports.map(({ name }) => name).join(" "), ATTACKS.map(({ name }) => name).join(" "));
  const remarks = reports.flatMap((report) => report.remarks).join("\n");
  doesNotMatch(remarks, /nothing can be mapped|offers no window|shares no versions/);
  for (const { name, rounds, race, neighbour, nextGuestMs } of reports) {
    equal(name === "mounts" || rounds > 0, true, `${name} was tried`);
    const { races } = ATTACKS.find((attack) => attack.name === name)!;
    equal(race !== null, races !== undefined, name);
    equal(race === null || (race.done > 0 && race.served > 0), true, `${name} was a race`);
    equal(neighbour.visits > 0 && neighbour.worstMs > 0, true, `${name}: another guest was served`);
    equal(nextGuestMs !== null, true, `${name}: the next guest was served`);
  }
}

Deno.test("a daemon that listens already is attacked, and its share is left empty", async () => {
  using tree = new TempTree();
  const share = `${tree.root}/share`;
  Deno.mkdirSync(share);
  const socketPath = `${tree.root}/daemon.sock`;
  const options = ["--keep-listening", "--shared-dir", share, "--socket-path", socketPath];
  const daemon = new RunningProgram(["serve", ...options]);
  await daemon.stderrHolds("Waiting for vhost-user socket connection");
  try {
    const there = ["--socket-path", socketPath, "--shared-dir", share];
    const { code, reports } = await check(...there, "--attacks", "names,symlink-races,symlinks");
    equal(reports.map(({ name }) => name).join(" "), "names symlink-races symlinks");
    equal(reports.flatMap(({ violations }) => violations).join("\n"), "");
    for (const { nextGuestMs } of reports) equal(nextGuestMs !== null, true);
    equal(code, 0);
    equal(
      [...Deno.readDirSync(tree.root)].map(({ name }) => name).sort().join(),
      "daemon.sock,daemon.sock.pid,share",
    );
    equal([...Deno.readDirSync(share)].length, 0);
  } finally {
    daemon.kill("SIGTERM");
    await daemon.outcome(DEADLINE_MS);
  }
});

Deno.test("a share whose daemon is gone is left empty, too", async () => {
  using tree = new TempTree();
  const share = `${tree.root}/share`;
  Deno.mkdirSync(share);
  const there = ["--socket-path", `${tree.root}/none.sock`, "--shared-dir", share];
  const { code, stderr } = await new RunningProgram(["check", "hostile", ...there])
    .outcome(DEADLINE_MS);
  equal(code, 1);
  match(
    stderr,
    /^error: Cannot connect to the daemon at ".*none\.sock": there is no such socket$/m,
  );
  equal([...Deno.readDirSync(tree.root)].map(({ name }) => name).join(), "share");
  equal([...Deno.readDirSync(share)].length, 0);
});

Deno.test("what is somebody's is not attacked", async () => {
  using tree = new TempTree();
  Deno.mkdirSync(`${tree.root}/share`);
  Deno.mkdirSync(`${tree.root}/canary`);
  const refused = async (directory: string) => {
    const args = ["check", "hostile", "--socket-path", `${tree.root}/none.sock`];
    const program = new RunningProgram([...args, "--shared-dir", directory]);
    const { code, stderr } = await program.outcome(DEADLINE_MS);
    equal(code, 1);
    return stderr;
  };
  match(await refused(`${tree.root}/share`), /canary" is in the way/);
  match(await refused(tree.root), /is not an empty directory/);
  match(await refused(`${tree.root}/missing`), /is not an empty directory/);
});

Deno.test("the second process swaps names on the host while this one does something else", async () => {
  using tree = new TempTree();
  const [one, other] = ["one", "other"].map((name) => `${tree.root}/${name}`) as [string, string];
  Deno.writeTextFileSync(one, "1");
  Deno.writeTextFileSync(other, "2");
  {
    using second = SecondProcess.swapping([[one, other], [one, `${tree.root}/missing`]]);
    const seen = new Set<string>();
    await until("both", () => seen.add(Deno.readTextFileSync(one)).size === 2, DEADLINE_MS);
    equal([...seen].sort().join(), "1,2");
    await until("more", () => second.take() > 0, DEADLINE_MS);
  }
  const still = Deno.readTextFileSync(one);
  equal(Deno.readTextFileSync(one) === still && Deno.readTextFileSync(other) !== still, true);
});

Deno.test("the second process that can do nothing is not taken for one", () => {
  const nowhere = new NativeMemory(8192, 4096);
  const values = [() => new Uint8Array(4)];
  throws(
    () => SecondProcess.flipping(nowhere, [{ places: [0], values }]),
    /The second process has ended: preadv: EFAULT/,
  );
});

Deno.test("the second process writes to memory that is shared, all of its values", async () => {
  using memory = new SharedMemory(4096);
  const { u8 } = memory.bytes;
  using second = SecondProcess.flipping(memory.bytes, [
    { places: [0, 8], values: [() => new Uint8Array([1, 1]), () => new Uint8Array([2, 2])] },
    { places: [16, 24], values: [(place) => new Uint8Array([place, 7])] },
  ]);
  const seen = new Set<number>();
  const isThere = () => seen.add(u8[0]!).has(1) && seen.has(2) && u8[25] === 7;
  await until("both values", isThere, DEADLINE_MS);
  equal([u8[16], u8[24]].join(), "0,1", "each place has its own");
  equal(u8.subarray(2, 8).join(), "0,0,0,0,0,0", "and nothing between");
  equal(second.take() > 0, true);
});

Deno.test("an attack at which nothing happened meanwhile has not taken place", () => {
  const tally = new Tally();
  tally.overlap(0, 5);
  tally.overlap(7, 0);
  equal(outcomeOf(tally, "swaps"), "UNTRIED");
  tally.overlap(7, 5);
  equal(outcomeOf(tally, "swaps"), "contained");
  equal([tally.meanwhile, tally.servedMeanwhile].join(), "7,5");
  tally.endings.add("the daemon has ended");
  equal(outcomeOf(tally, "swaps"), "ENDED");
  equal(outcomeOf(new Tally(), undefined), "contained");
});

Deno.test("attacks that are not there are named", async () => {
  const outcome = await new RunningProgram(["check", "hostile", "--attacks", "nonsense"])
    .outcome(DEADLINE_MS);
  equal(outcome.code, 2);
  match(outcome.stderr, /There is no attack "nonsense"; expected some of names, /);
});

Deno.test("the auditor sees what is read, written, renamed and removed outside", () => {
  const deeds: Record<string, (canary: string) => void> = {
    "opened": (canary) => Deno.openSync(`${canary}/secret`).close(),
    "opened in a directory": (canary) => void [...Deno.readDirSync(`${canary}/inner`)],
    "written": (canary) => Deno.writeTextFileSync(`${canary}/inner/secret`, "HOSTILE"),
    "attributes": (canary) => Deno.chmodSync(`${canary}/script`, 0o600),
    "made": (canary) => Deno.mkdirSync(`${canary}/made`),
    "linked": (canary) => Deno.linkSync(`${canary}/secret`, `${canary}/../linked`),
    "renamed": (canary) => Deno.renameSync(canary, `${canary}-2`),
    "removed": (canary) => Deno.removeSync(`${canary}/secret`),
  };
  for (const [name, deed] of Object.entries(deeds)) {
    using tree = new TempTree();
    const auditor = new Auditor(tree.root);
    auditor.begin();
    deed(auditor.path);
    equal(auditor.end().length > 0, true, `${name} is seen`);
  }
  using tree = new TempTree();
  const auditor = new Auditor(tree.root);
  auditor.begin();
  equal(auditor.end().join(), "", "nothing is seen where nothing was done");
});

Deno.test("replies are looked through for what lies outside", () => {
  const seen = (opcode: number, bytes: Uint8Array): number => {
    const secrets = new Secrets("token", new Set([77n]));
    secrets.look(opcode, new DataView(bytes.slice().buffer as ArrayBuffer));
    return secrets.seen.size;
  };
  equal(seen(15, new TextEncoder().encode("a ttoken b")), 1);
  equal(seen(15, new TextEncoder().encode("a toke")), 0);
  const entry = (nodeid: bigint, ino: bigint) =>
    concat(words(nodeid, 0n, 0n, 0n, 0n), words(ino), new Uint8Array(80));
  equal(seen(1, entry(5n, 77n)), 1);
  equal(seen(1, entry(5n, 78n)), 0);
  equal(seen(3, concat(words(0n, 0n, 77n), new Uint8Array(80))), 1);
  const named = concat(new Uint8Array(16), words(1, 4), new Uint8Array(8));
  equal(seen(44, concat(entry(5n, 1n), named, entry(6n, 77n), named)), 1);
  // What getdents(2) says of "..": nothing was looked at for it.
  equal(seen(44, concat(entry(0n, 77n), named)), 0);
});
