/**
 * The map of POSIX checks on a temporary directory of the host: proves the map itself, so that a
 * failure in a guest speaks of the server.
 *
 * @module
 */

import { hostCalls } from "../../src/check/posix/host_calls.ts";
import { type Need, NEEDS } from "../../src/check/posix/check.ts";
import { O } from "../../src/check/posix/linux_constants.ts";
import { checkNames, CheckRun } from "../../src/check/posix/run_checks.ts";
import { CheckFailure, Scope } from "../../src/check/posix/scope.ts";
import { useSystemCalls } from "../../src/check/posix/system_calls.ts";

// Scopes are used here without a run.
useSystemCalls(hostCalls);

/** Limits of host file systems as the kernel's own sources state them, by `stat -f -c %T`. */
const LIMITS: Readonly<Record<string, readonly Need[]>> = {
  tmpfs: ["zero-range"],
  overlayfs: ["whiteout", "zero-range"],
};

function fileSystemType(path: string): string {
  const { stdout } = new Deno.Command("stat", { args: ["-f", "-c", "%T", path] }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}

/** A temporary directory that every user can reach. */
function temporaryDirectory(): string {
  const path = Deno.makeTempDirSync({ prefix: "posix-map-" });
  Deno.chmodSync(path, 0o755);
  return path;
}

Deno.test("POSIX map on a host directory", async (t) => {
  const directory = temporaryDirectory();
  const type = fileSystemType(directory);
  try {
    using run = new CheckRun(hostCalls, Deno.realPathSync(directory), new Set(LIMITS[type] ?? []));
    const families = Map.groupBy(checkNames(), (name) => name.slice(0, name.indexOf(":")));
    for (const [family, names] of families) {
      await t.step(`${family} (${names.length})`, async () => {
        const failures: string[] = [];
        const skipped = new Map<Need, number>();
        for (const name of names) {
          const result = await run.run(name);
          if (!result.ok) failures.push(`${name}: ${result.detail}`);
          if (result.skipped) skipped.set(result.skipped, (skipped.get(result.skipped) ?? 0) + 1);
        }
        for (const [need, count] of skipped) {
          console.log(
            `${family}: ${count} skipped, they need ${need}, which is not here (${type})`,
          );
        }
        if (failures.length > 0) throw new Error(failures.join("\n"));
      });
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("POSIX map: every name belongs to a family and every need is known", () => {
  const names = checkNames();
  if (names.length < 1500) throw new Error(`Only ${names.length} checks`);
  for (const name of names) {
    if (!/^[^:]+: ./.test(name)) throw new Error(`"${name}" has no family`);
  }
  if (new Set(NEEDS).size !== NEEDS.length) throw new Error("A need is there twice");
});

/** A scope of its own for each trial of the expectations. */
function withScope(trial: (scope: Scope) => void): void {
  const directory = temporaryDirectory();
  const probe = hostCalls.open(`${directory}/clock`, O.CREAT | O.RDWR, 0o600);
  hostCalls.mkdir(`${directory}/check`);
  hostCalls.chmod(`${directory}/check`, 0o777);
  const scope = new Scope(`${directory}/check`, probe);
  try {
    trial(scope);
  } finally {
    scope.dispose();
    hostCalls.close(probe);
    Deno.removeSync(directory, { recursive: true });
  }
}

const WRONG: Readonly<Record<string, (t: Scope) => void>> = {
  "an errno where success is expected": (t) => t.ok(hostCalls.rmdir(t.path("none")), "rmdir"),
  "success where an errno is expected": (t) =>
    t.errno(hostCalls.mkdir(t.path("d")), "EEXIST", "mkdir"),
  "another errno than expected": (t) => t.errno(hostCalls.rmdir(t.path("none")), "EPERM", "rmdir"),
  "a time that stands still": (t) => t.times([[t.dir, "m"]], () => {}),
  "a time that moves": (t) => t.times([[t.dir, ""]], () => t.file("x")),
  "a ctime that moves where only mtime should": (t) => {
    t.times([[t.dir, "m"]], () => t.file("x"));
  },
  "another content": (t) => t.equal(t.content(t.file("x")), "other", "content"),
  "an fd that is not there": (t) => t.fstat(9999),
};

for (const [name, wrong] of Object.entries(WRONG)) {
  Deno.test(`POSIX scope: notices ${name}`, () => {
    withScope((scope) => {
      try {
        wrong(scope);
      } catch (error) {
        if (error instanceof CheckFailure) return;
        throw error;
      }
      throw new Error("It was let through");
    });
  });
}

Deno.test({
  name: "POSIX scope: acts as another user and comes back",
  // Only root can act as somebody else; the map says so of its own checks.
  ignore: hostCalls.geteuid() !== 0,
  fn() {
    withScope((scope) => {
      const who = { uid: 4242, gid: 4343, groups: [] };
      scope.as(who, () => scope.ok(hostCalls.mkdir(scope.path("theirs")), "mkdir"));
      scope.ok(hostCalls.mkdir(scope.path("ours")), "mkdir");
      const { uid, gid } = scope.lstat(scope.path("theirs"));
      scope.equal(`${uid}:${gid}`, "4242:4343", "owner");
      scope.equal(scope.lstat(scope.path("ours")).uid, 0, "owner afterwards");
    });
  },
});
