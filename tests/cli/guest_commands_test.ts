import assert from "node:assert/strict";
import { ServedDirectory } from "../userspace_guest/daemons.ts";
import { run } from "./program.ts";

Deno.test("program: guest puts a tree into a share, looks at it, copies, gets and removes it", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  const host = Deno.makeTempDirSync();
  Deno.mkdirSync(`${host}/tree/below`, { recursive: true });
  Deno.writeTextFileSync(`${host}/tree/below/x`, "text\n");
  Deno.symlinkSync("below/x", `${host}/tree/link`);
  const guest = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run([
      "guest",
      ...words,
      "--socket-path",
      served.socketPath,
    ]);
    assert.equal(code, 0, stderr);
    return stdout.trimEnd();
  };
  await guest("put", "-r", `${host}/tree`, "/");
  assert.equal(await guest("ls", "/tree"), "below\nlink");
  assert.equal(await guest("cat", "/tree/link"), "text");
  assert.match(
    await guest("tree", "/"),
    /└── tree\n {4}├── below\n {4}│ {3}└── x\n {4}└── link -> below\/x/,
  );
  assert.match(
    await guest("ls", "-l", "/tree"),
    /^drwxr-xr-x .* below\nlrwxrwxrwx .* link -> below\/x$/,
  );
  const stat = JSON.parse(await guest("stat", "--json", "/tree/below/x"));
  assert.deepEqual([stat.type, stat.size, stat.path], ["file", 5, "/tree/below/x"]);
  await guest("cp", "-r", "/tree", "/copy");
  await guest("mv", "/copy/below/x", "/copy/y");
  await guest("mkdir", "-p", "/p/q/r");
  await guest("chmod", "600", "/copy/y");
  await guest("ln", "-s", "y", "/copy/s");
  await guest("get", "-r", "/copy", `${host}/back`);
  assert.equal(Deno.readTextFileSync(`${host}/back/s`), "text\n");
  assert.equal(Deno.statSync(`${host}/back/y`).mode! & 0o777, 0o600);
  await guest("rm", "-r", "/copy", "/tree", "/p");
  assert.deepEqual([...Deno.readDirSync(served.directory)], []);
  assert.match(await guest("df"), /^size .* available .*inodes/);
  Deno.removeSync(host, { recursive: true });
});

Deno.test("program: guest says in one line what is wrong, with exit code 1, or 2 for usage", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  const at = ["--socket-path", served.socketPath];
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [
      ["guest", "cat", "/nope", ...at],
      1,
      /^error: ENOENT: No such file or directory, open "\/nope"\n$/,
    ],
    [
      ["guest", "ls", "--socket-path", "/nowhere.sock"],
      1,
      /^error: Cannot connect .*no such socket\n$/,
    ],
    [["guest", "put", "/nope/x", "/y", ...at], 1, /^error: No such file or directory/],
    [["guest", "frobnicate", ...at], 2, /There is no action "frobnicate"/],
    [["guest", "mv", "/x", ...at], 2, /Expected: guest mv SHARE\.\.\. SHARE/],
    [["guest", "ls"], 2, /Missing: --socket-path/],
    [
      ["mount", "--socket-path", "/nowhere.sock", "/nowhere/mnt"],
      1,
      /no directory "\/nowhere\/mnt"/,
    ],
    [["mount", "/tmp"], 2, /Missing: --socket-path/],
    [
      ["mount", "--socket-path", "/nowhere.sock", "/tmp", "-o", "frob"],
      1,
      /no mount option "frob"/,
    ],
    [["bench"], 2, /at least one of --socket-path/],
    [["bench", "--shared-dir", "/tmp", "--rows", "frob"], 2, /No row's name matches/],
    [["bench", "--command", "true {socket}"], 1, /Cannot start .*ended with exit code 0/],
    [["check", "posix"], 2, /Expected one of/],
    [["check", "frob", "--shared-dir", "/tmp"], 2, /posix/],
    [["check", "posix", "--directory", "/nowhere"], 1, /no directory "\/nowhere"/],
    [["check", "posix", "--shared-dir", "/tmp", "--without", "frob"], 2, /no need "frob"/],
  ];
  for (const [args, code, message] of cases) {
    const outcome = await run(args);
    assert.equal(outcome.code, code, `${args.join(" ")}: ${outcome.stderr}`);
    assert.match(outcome.stderr, message, args.join(" "));
  }
});

Deno.test("program: each command has a --help with an example", async () => {
  for (const command of ["mount", "guest", "bench", "check", "demo", "serve"]) {
    const { code, stdout } = await run([command, "--help"]);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`Usage: virtiofsd-ts ${command} `));
    assert.match(stdout, new RegExp(`\\n {2}virtiofsd-ts ${command} `), "an example");
  }
});

Deno.test("program: check posix names each failed check with what was expected, and counts", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  const at = ["--socket-path", served.socketPath];
  const good = await run(["check", "posix", ...at, "--filter", "^rename: "]);
  assert.equal(good.code, 0, good.stdout + good.stderr);
  assert.match(good.stdout, /^\d+ passed, 0 failed/);
  // Without --xattr the daemon has none, and the checks that need them say so.
  const bad = await run(["check", "posix", ...at, "--filter", "setxattr"]);
  assert.equal(bad.code, 1);
  assert.match(bad.stdout, /^FAILED {2}.*setxattr.*: .*EOPNOTSUPP, expected success$/m);
  const json = await run([
    "check",
    "posix",
    ...at,
    "--filter",
    "setxattr",
    "--without",
    "xattr",
    "--json",
  ]);
  assert.equal(JSON.parse(json.stdout.trim().split("\n").at(-1)!).summary.failed, 0);
});

Deno.test("program: bench measures two daemons in one run: table, JSON and a chart", async () => {
  const directory = Deno.makeTempDirSync({ dir: "/var/tmp" });
  try {
    const short = [
      "--rounds",
      "1",
      "--row-ms",
      "5",
      "--shared-dir",
      directory,
      "--shared-dir",
      directory,
    ];
    const { code, stdout, stderr } = await run([
      "bench",
      ...short,
      "--svg",
      `${directory}/chart.svg`,
    ]);
    assert.equal(code, 0, stderr);
    for (
      const row of ["null round trip", "readdirplus", "depth 64", "small files: delete", "mmap"]
    ) {
      assert.match(stdout, new RegExp(row));
    }
    assert.match(stdout, /virtiofsd-ts 2 .*\d\.\d\d \(\d/);
    const svg = Deno.readTextFileSync(`${directory}/chart.svg`);
    assert.match(svg, /^<svg [\s\S]*<\/svg>\n$/);
    const json = JSON.parse((await run(["bench", ...short, "--json", "--rows", "null"])).stdout);
    assert.deepEqual(json.daemons, ["virtiofsd-ts", "virtiofsd-ts 2"]);
    assert.equal(json.rows[0].cells[0].ratio, 1);
    assert.ok(json.rows[0].cells[1].median > 0);
    Deno.removeSync(`${directory}/chart.svg`);
    assert.deepEqual([...Deno.readDirSync(directory)], [], "nothing is left behind");
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
