import assert from "node:assert/strict";
import { TempTree } from "../support/temp_tree.ts";
import { projectPath, run, runCompile } from "./executable.ts";

/** What the fixture prints. */
interface Report {
  readonly args: string[];
  readonly signal: boolean;
  readonly ids: { pid: number; tid: number };
  readonly worker: { pid: number; tid: number; url: string };
  readonly logger: string[];
  readonly url: string;
  readonly execPath: string;
  readonly commandLine: string;
  readonly nodePid: number;
  readonly env: string[];
  readonly child: string;
}

/** An id that owns nothing on a Debian system. */
const NOBODY = 65534;

Deno.test("compile.ts makes one executable that needs nothing around it", async (t) => {
  using tree = new TempTree();
  const program = tree.path("bin", "fixture");
  const made = await runCompile([
    `--entry=${projectPath("tests/compile/fixture/main.ts")}`,
    `--output=${program}`,
  ]);
  assert.equal(made.code, 0, made.stderr);
  assert.deepEqual([...Deno.readDirSync(tree.path("bin"))].map(({ name }) => name), ["fixture"]);
  const empty = tree.directory("empty");

  await t.step("arguments, signals, FFI, Worker and npm packages work", async () => {
    const { code, stdout, stderr } = await run(program, ["a", "", "--allow-none", "--exit=7"], {
      cwd: empty,
    });
    assert.equal(stderr, "");
    assert.equal(code, 7);
    const report: Report = JSON.parse(stdout);
    assert.deepEqual(report.args, ["a", "", "--allow-none", "--exit=7"]);
    assert.equal(report.signal, true);
    assert.equal(report.ids.pid, report.nodePid);
    assert.equal(report.worker.pid, report.nodePid);
    assert.notEqual(report.worker.tid, report.ids.tid);
    assert.equal(report.worker.url, report.url);
    assert.deepEqual(report.logger, ["fixture"]);
    assert.equal(report.execPath, program);
    // What ps shows is what was typed, not what deno was told.
    assert.equal(report.commandLine, [program, ...report.args, ""].join("\0"));
    assert.deepEqual(report.env, []);
  });

  await t.step("options of deno reach the program", async () => {
    assert.match((await run(program, ["--help"], { cwd: empty })).stdout, /^Usage: fixture/);
    for (const option of ["-h", "--version", "-", "--", "--inspect-brk", "--v8-flags=--help"]) {
      const { code, stdout, stderr } = await run(program, [option], { cwd: empty });
      assert.equal(code, 0, stderr);
      assert.deepEqual((JSON.parse(stdout) as Report).args, [option]);
    }
  });

  await t.step("the current directory, $HOME and DENO_* change nothing", async () => {
    const hostile = tree.directory("hostile");
    const names = ["deno.json", "deno.jsonc", "deno.lock", "package.json", ".npmrc", ".env"];
    for (const name of names) tree.file(`hostile/${name}`, "{{{ broken");
    const { code, stdout, stderr } = await run(program, ["--exit=3"], {
      cwd: hostile,
      env: {
        HOME: hostile,
        KEPT: "1",
        DENO_AUDIT_PERMISSIONS: `${hostile}/audit`,
        DENO_CERT: "/nonexistent",
        DENO_COVERAGE_DIR: `${hostile}/coverage`,
        DENO_DIR: `${hostile}/deno`,
        DENO_LOG: "debug",
        DENO_V8_FLAGS: "--no-such-flag",
        NODE_CHANNEL_FD: "77",
        NODE_OPTIONS: "--require=/nonexistent",
      },
    });
    assert.equal(stderr, "");
    assert.equal(code, 3);
    const report: Report = JSON.parse(stdout);
    assert.deepEqual(report.env, ["HOME", "KEPT"]);
    assert.doesNotMatch(report.child, /DENO_|NODE_/);
    const left = [...Deno.readDirSync(hostile)].map(({ name }) => name).sort();
    assert.deepEqual(left, names.sort());
  });

  await t.step("it is found through a symbolic link and through PATH", async () => {
    const link = tree.path("another-name");
    Deno.symlinkSync(program, link);
    assert.match((await run(link, ["--help"])).stdout, /^Usage: fixture/);
    const found = await run("/bin/sh", ["-c", "fixture --help"], {
      env: { PATH: tree.path("bin") },
    });
    assert.match(found.stdout, /^Usage: fixture/);
  });

  await t.step({
    name: "another user can run it, with no readable home",
    ignore: Deno.uid() !== 0, // only root can become another user
    fn: async () => {
      const { code, stdout, stderr } = await run(program, ["--exit=4"], {
        cwd: "/",
        env: { HOME: "/root" },
        uid: NOBODY,
        gid: NOBODY,
      });
      assert.equal(code, 4, stderr);
      assert.equal((JSON.parse(stdout) as Report).args[0], "--exit=4");
    },
  });

  await t.step("the bundle's descriptor takes no other's place and is not inherited", async () => {
    const taken = 'exec 100</dev/null; exec "$0" "$@"';
    const first: Report = JSON.parse((await run("/bin/bash", ["-c", taken, program])).stdout);
    assert.equal(first.url, "file:///proc/self/fd/101");
    assert.match(first.child, /^100$/m); // ours to pass on, not to close
    assert.doesNotMatch(first.child, /^101$/m);
    const few = 'ulimit -n 64; exec "$0" "$@"';
    const second = await run("/bin/sh", ["-c", few, program]);
    assert.equal(second.code, 0, second.stderr);
    const closed = await run("/bin/sh", ["-c", '"$0" "$@" <&- >&- 2>&-', program, "--exit=5"]);
    assert.equal(closed.code, 5);
  });
});

Deno.test("compile.ts gives one clear line for what it cannot do", async () => {
  using tree = new TempTree();
  const output = tree.file("existing", "untouched");
  const missing = await runCompile([`--entry=${tree.path("none.ts")}`, `--output=${output}`]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /^error: Cannot bundle ".*none.ts"$/m);
  assert.equal(Deno.readTextFileSync(output), "untouched");
  const unknown = await runCompile(["--outptu=x"]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /^error: Unknown option '--outptu'/);
});

Deno.test("compile.ts makes virtiofsd-ts, which says its version and serves", async () => {
  using tree = new TempTree();
  const program = tree.path("virtiofsd-ts");
  const made = await runCompile([`--output=${program}`]);
  assert.equal(made.code, 0, made.stderr);
  const { version } = JSON.parse(Deno.readTextFileSync(projectPath("deno.json")));
  const { code, stdout, stderr } = await run(program, ["--version"], { cwd: tree.root });
  assert.equal(stderr, "");
  assert.equal(stdout, `virtiofsd-ts ${version}\n`);
  assert.equal(code, 0);
  // The daemon, its Workers included, at work for the guest of the demo, from an empty directory.
  const demo = await run(program, ["demo", "--guest", "program", "--dax", "always"], {
    cwd: tree.directory("empty"),
  });
  assert.match(demo.stdout, /DAX window: 256 ranges/);
  assert.match(demo.stdout, /All of it worked/);
  assert.equal(demo.code, 0, demo.stdout);
  // And guests in Workers, of daemons that the executable starts of itself.
  const quick = ["--cache", "none", "--seconds", "1"];
  const checked = await run(program, ["check", "coherence", ...quick], { cwd: tree.root });
  assert.match(checked.stdout, /, 0 violations/);
  assert.equal(checked.code, 0, checked.stdout + checked.stderr);
});
