import assert from "node:assert/strict";
import { PROGRAM_NAME, VERSION } from "../../src/version.ts";
import { InheritedSocket } from "./listening_fd.ts";
import { run, runDaemon, RunningProgram, Workplace } from "./program.ts";

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("version.ts says what deno.json says", () => {
  const path = new URL("../../deno.json", import.meta.url);
  assert.equal(JSON.parse(Deno.readTextFileSync(path)).version, VERSION);
});

Deno.test("program: no arguments: usage on stderr, exit 2", async () => {
  const { code, stdout, stderr } = await run([]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Usage: virtiofsd-ts /);
});

Deno.test("program: --version and -V", async () => {
  for (const args of [["--version"], ["-V"], ["serve", "--version"]]) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual({ code, stdout, stderr }, {
      code: 0,
      stdout: `${PROGRAM_NAME} ${VERSION}\n`,
      stderr: "",
    });
  }
});

Deno.test("program: --help and -h list the commands", async () => {
  for (const arg of ["--help", "-h"]) {
    const { code, stdout, stderr } = await run([arg]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    for (const word of ["Usage:", "serve", "demo", "--print-capabilities", "Examples:"]) {
      assert.ok(stdout.includes(word), word);
    }
  }
});

Deno.test("program: serve --help shows every option in groups, with an example", async () => {
  const { code, stdout } = await run(["serve", "--help"]);
  assert.equal(code, 0);
  const options = [
    ...["--shared-dir", "--tag", "--socket-path", "--socket", "--fd", "--socket-group", "--cache"],
    ...["--timeout", "--negative-timeout", "--writeback", "--allow-mmap", "--allow-direct-io"],
    ...["--readonly", "--xattr", "--xattrmap", "--posix-acl", "--security-label"],
    ...["--no-readdirplus", "--announce-submounts", "--no-announce-submounts", "--killpriv-v2"],
    ...["--no-killpriv-v2", "--inode-file-handles", "--thread-pool-size", "--preserve-noatime"],
    ...["--log-level", "--syslog", "--rlimit-nofile", "--sandbox", "--seccomp", "--modcaps"],
    ...["--uid-map", "--gid-map", "--translate-uid", "--translate-gid", "--migration-mode"],
    ...["--squash-all", "--deny-unmapped", "--max-inodes", "--max-open-files", "--max-locks"],
    ...["--max-mappings"],
    ...["--migration-on-error", "--migration-verify-handles", "--migration-confirm-paths"],
    ...["--print-capabilities", "--keep-listening", "--num-request-queues", "--poll-us"],
    ...["--posix-lock", "--flock", "-o", "-d", "-f", "--daemonize", "--help"],
  ];
  for (const option of options) {
    assert.match(stdout, new RegExp(`^  (--?[a-z0-9-]+, )?${option}\\b`, "m"), option);
  }
  for (const group of ["Share:", "Socket:", "Caching:", "Isolation", "Logging:", "Examples:"]) {
    assert.ok(stdout.includes(`\n${group}`), group);
  }
});

Deno.test("program: each command has help with an example", async () => {
  for (const command of ["serve", "demo"]) {
    const { code, stdout } = await run([command, "--help"]);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`Examples:\\n +virtiofsd-ts ${command}`));
  }
});

Deno.test("program: --print-capabilities ignores everything else", async () => {
  for (
    const args of [
      ["--print-capabilities"],
      ["--bogus", "--print-capabilities", "--fd=77"],
      ["serve", "--print-capabilities"],
    ]
  ) {
    const { code, stdout } = await run(args);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), { type: "fs", features: ["separate-options"] });
  }
});

const MISUSES: readonly [string, readonly string[], RegExp][] = [
  ["an unknown option", ["--bogus"], /--bogus/],
  ["a near miss", ["--shared-dri=/tmp"], /--shared-dir/],
  ["an unknown command", ["polish"], /"polish"/],
  ["a bad value", ["--shared-dir=/", "--socket-path=/x", "--cache=maybe"], /"maybe"/],
  ["an unknown -o word", ["--shared-dir=/", "--socket-path=/x", "-o", "polish"], /"polish"/],
  ["no socket", ["--shared-dir=/"], /--socket-path or --fd/],
  ["no directory", ["--socket-path=/x"], /--shared-dir/],
  ["two endpoints", ["--shared-dir=/", "--socket-path=/x", "--fd=3"], /exclude each other/],
  ["--daemonize", ["--shared-dir=/", "--socket-path=/x", "--daemonize"], /foreground/],
  [
    "a rule of ids that is none",
    ["--shared-dir=/", "--socket-path=/x", "--translate-uid=map:1:2"],
    /--translate-uid.*map:1:2: "map" takes 3 numbers, not 2/,
  ],
  [
    "a bad --xattrmap",
    ["--shared-dir=/", "--socket-path=/x", "--xattrmap=:ok:all::: :map:a:"],
    /--xattrmap.*rule 2, at character 12: the rule is not finished, ":" is missing/,
  ],
  [
    "--deny-unmapped without groups",
    ["--shared-dir=/", "--socket-path=/x", "--deny-unmapped", "--translate-uid=map:1:2:3"],
    /--deny-unmapped needs both/,
  ],
  ["demo with a bad option", ["demo", "--bogus"], /--bogus/],
];

for (const [what, args, message] of MISUSES) {
  Deno.test(`program: ${what}: exit 2, the reason and the usage on stderr`, async () => {
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, message);
    assert.match(stderr, /Usage: /);
    assert.doesNotMatch(stderr, /^ +at /m);
  });
}

Deno.test("program: what cannot be set up: exit 1 and one ERROR line", async () => {
  using place = new Workplace();
  const file = `${place.directory}/file`;
  Deno.writeTextFileSync(file, "");
  const socket = `--socket-path=${place.socket}`;
  const share = `--shared-dir=${place.share}`;
  const cases: readonly [readonly string[], RegExp][] = [
    [["--shared-dir=/no/such/dir", socket], /\/no\/such\/dir does not exist/],
    [[`--shared-dir=${file}`, socket], /is not a directory/],
    [[share, "--socket-path=/no/such/dir/s"], /directory of the socket .* does not exist/],
    [[share, `--socket-path=${file}`], /is not a socket/],
    [[share, socket, "--socket-group=no-such-group-here"], /no group no-such-group-here/],
    [[share, "--fd=250"], /--fd 250 is not a socket/],
    [
      [share, socket, "--translate-uid=map:0:1:1", "--posix-acl"],
      /--posix-acl and a translation of ids exclude each other/,
    ],
    [
      [share, socket, "--translate-uid=map:0:1:3", "--translate-uid=guest:2:9:1"],
      /--translate-uid: the guest ids 2 overlap those of another rule/,
    ],
    [
      [share, socket, "--squash-all=1:1", "--translate-gid=forbid-guest:5:2"],
      /--translate-gid: the guest ids 5 to 6 overlap those of another rule/,
    ],
    [
      [share, socket, "--translate-gid=host:4294967295:1:1"],
      /--translate-gid: the host ids 4294967295 reach beyond the last id/,
    ],
    [[share, socket, "--uid-map=0:1:1"], /--uid-map 0:1:1: expected :INSIDE:OUTSIDE:COUNT:/],
    [
      [share, socket, "-o", "xattrmap=:map::x.:", "--posix-acl"],
      /--posix-acl and this --xattrmap exclude each other/,
    ],
    [[share, socket, "--migration-mode=find-paths"], /--migration-mode is not supported/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await run(args);
    const errors = stderr.split("\n").filter((line) => line.includes(" ERROR "));
    assert.equal(code, 1, args.join(" "));
    assert.equal(stdout, "");
    assert.equal(errors.length, 1, stderr);
    assert.match(errors[0] ?? "", message);
    assert.match(errors[0] ?? "", /^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR virtiofsd_ts\] /);
    assert.doesNotMatch(stderr, /^ +at /m);
  }
  assert.equal(exists(place.socket), false);
  assert.equal(exists(`${place.socket}.pid`), false);
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  Deno.test(`program: ${signal} ends it with exit 0, socket and pid file removed`, async () => {
    using place = new Workplace();
    const args = ["--shared-dir", place.share, "--socket-path", place.socket];
    const { code, stdout } = await runDaemon(args, {
      signal,
      whileRunning: () => {
        assert.equal(exists(place.socket), true);
        assert.equal(exists(`${place.socket}.pid`), true);
      },
    });
    assert.equal(code, 0);
    assert.equal(stdout, "");
    assert.equal(exists(place.socket), false);
    assert.equal(exists(`${place.socket}.pid`), false);
  });
}

Deno.test("program: a second daemon on the socket: exit 1, the first one lives", async () => {
  using place = new Workplace();
  const args = ["--shared-dir", place.share, "--socket-path", place.socket];
  const first = new RunningProgram(args);
  await first.stderrHolds("Waiting for vhost-user socket connection");
  const second = await run(args);
  assert.equal(second.code, 1);
  assert.match(second.stderr, new RegExp(`in use.*pid ${first.pid}`));
  assert.equal(exists(place.socket), true);
  first.kill("SIGTERM");
  assert.equal((await first.outcome()).code, 0);
});

Deno.test("program: a daemon that was killed leaves a socket that the next one takes over", async () => {
  using place = new Workplace();
  const args = ["--shared-dir", place.share, "--socket-path", place.socket];
  const killed = await runDaemon(args, { signal: "SIGKILL" });
  assert.equal(killed.code, 137);
  assert.equal(exists(place.socket), true);
  assert.equal((await runDaemon(args)).code, 0);
  assert.equal(exists(place.socket), false);
});

Deno.test("program: with --fd the socket belongs to the launcher", async () => {
  using place = new Workplace();
  using socket = new InheritedSocket(place.socket);
  const { code } = await runDaemon([`--fd=${socket.fd}`, `--shared-dir=${place.share}`]);
  assert.equal(code, 0);
  assert.equal(exists(place.socket), true);
  assert.equal(exists(`${place.socket}.pid`), false);
});

Deno.test("program: log levels, RUST_LOG as a hint, options before it", async () => {
  using place = new Workplace();
  // Ends in an error of the set-up, after the warnings, so that no level has to be waited for.
  const base = ["--shared-dir=/no/such/dir", `--socket-path=${place.socket}`, "-o", "xattr"];
  const cases: readonly [readonly string[], string, readonly string[]][] = [
    [[], "", ["WARN", "ERROR"]],
    [[], "ERROR", ["ERROR"]],
    [["--log-level=error"], "debug", ["ERROR"]],
    [["--log-level", "off"], "", []],
    [["-o", "log_level=error"], "", ["ERROR"]],
    [["-d"], "error", ["WARN", "ERROR"]],
  ];
  for (const [args, rustLog, levels] of cases) {
    const { code, stderr } = await run([...base, ...args], { env: { RUST_LOG: rustLog } });
    assert.equal(code, 1);
    assert.deepEqual([...stderr.matchAll(/Z ([A-Z]+) +virtiofsd_ts\]/g)].map((m) => m[1]), levels);
  }
});

Deno.test("program: isolated by default, and not where that is asked for", async () => {
  using place = new Workplace();
  const base = ["--shared-dir", place.share, "--socket-path", place.socket, "-d"];
  const none = await runDaemon([...base, "--sandbox=none", "--seccomp=none"]);
  assert.doesNotMatch(none.stderr, /Confined/);
  const isolated = await runDaemon(base);
  assert.equal(isolated.code, 0, isolated.stderr);
  assert.match(isolated.stderr, /Confined: --sandbox namespace, --seccomp kill/);
});

Deno.test("program: --syslog without a system log: exit 1; with one, nothing else on stderr", async () => {
  using place = new Workplace();
  const args = ["--shared-dir=/no/such/dir", `--socket-path=${place.socket}`, "--syslog"];
  const { code, stderr } = await run(args);
  assert.equal(code, 1);
  if (exists("/dev/log")) assert.equal(stderr, "");
  else assert.match(stderr, /there is no system log/);
});

Deno.test("program: help into a closed pipe is no error", async () => {
  const { code } = await run(["serve", "--help"], {
    through: `exec > >(head -c 1 >/dev/null)`,
  });
  assert.equal(code, 0);
});
