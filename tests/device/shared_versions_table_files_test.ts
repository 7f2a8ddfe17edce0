/** `--cache shared`: what the command line refuses, and tables that are none. */
import assert from "node:assert/strict";
import { run, runDaemon, Workplace } from "../cli/program.ts";
import { isRustPeer } from "../support/daemon.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TablePath } from "../support/shared_share.ts";

const SLOTS = 64;
const ignore = isRustPeer || ignoreWithoutRoot();

function serveArgs({ share, socket }: Workplace, ...args: string[]): string[] {
  return ["serve", "--shared-dir", share, "--socket-path", socket, "--dax", "never", ...args];
}

/** One line that says what is wrong, and a code that says that something is. */
function assertRefused(outcome: { code: number; stderr: string }, code: number, says: RegExp) {
  assert.equal(outcome.code, code, outcome.stderr);
  // Usage errors end with how to call it.
  const lines = outcome.stderr.split("\n\nUsage: ")[0]!.trim().split("\n")
    .filter((line) => !/ (WARN|INFO) /.test(line));
  assert.equal(lines.length, 1, `one clear line:\n${outcome.stderr}`);
  assert.match(lines[0]!, says);
  assert.doesNotMatch(outcome.stderr, /\bat .*\.ts:\d+|Uncaught/, "no stack");
}

const USAGE: Record<string, [string[], RegExp]> = {
  "--version-slots that is no power of two": [
    ["--cache", "shared", "--version-slots", "1000"],
    /power of two/,
  ],
  "--version-slots that is no number": [["--cache", "shared", "--version-slots", "many"], /slots/],
  "--version-slots 0": [["--cache", "shared", "--version-slots", "0"], /slots/],
  "--version-slots -64": [["--cache", "shared", "--version-slots=-64"], /slots/],
  "--version-slots that no memory has": [
    ["--cache", "shared", "--version-slots", `${2 ** 52}`],
    /slots/,
  ],
  "--version-table without --cache shared": [
    ["--cache", "auto", "--version-table", "/dev/shm/nobody-makes-this"],
    /--cache shared/,
  ],
  "--version-slots without --cache shared": [["--version-slots", "64"], /--cache shared/],
  "--watch-host without --cache shared": [["--watch-host"], /--cache shared/],
  "an empty --version-table": [["--cache", "shared", "--version-table", ""], /table/],
};

for (const [what, [args, says]] of Object.entries(USAGE)) {
  Deno.test({ name: `serve refuses ${what}`, ignore: isRustPeer }, async () => {
    using place = new Workplace();
    assertRefused(await run(serveArgs(place, ...args)), 2, says);
    assert.throws(() => Deno.statSync("/dev/shm/nobody-makes-this"), Deno.errors.NotFound);
  });
}

/** What may have become of a table or its registry, and what is said. */
const DAMAGE: Record<string, [(table: TablePath) => void, RegExp]> = {
  "a table of another layout": [(table) => poke(table.path, 8, 2n), /layout|version 2/i],
  "a table without its magic number": [(table) => poke(table.path, 0, 0n), /no version table/],
  "a table that is cut short": [(table) => Deno.truncateSync(table.path, 256), /size|short|bytes/i],
  "an empty table": [(table) => Deno.truncateSync(table.path, 0), /no version table/],
  "a table that is too long": [
    (table) => Deno.truncateSync(table.path, 65_536),
    /size|long|bytes/i,
  ],
  "a table that says it is larger than it is": [
    (table) => poke(table.path, 16, 1n << 40n),
    /does not belong/,
  ],
  "a table whose registry is another's": [(table) => poke(table.path, 24, 12345n), /registry/i],
  "a registry that is cut short": [
    (table) => Deno.truncateSync(table.registry, 4096),
    /registry/i,
  ],
  "a table of somebody else": [
    (table) => Deno.chownSync(table.path, 12345, 12345),
    /belongs to user 12345/,
  ],
  "a registry of somebody else": [
    (table) => Deno.chownSync(table.registry, 12345, 12345),
    /belongs to user 12345/,
  ],
  "a table that others may write to": [
    (table) => Deno.chmodSync(table.path, 0o666),
    /mode|others|0600/i,
  ],
  "a registry that others may write to": [
    (table) => Deno.chmodSync(table.registry, 0o666),
    /mode|others|0600/i,
  ],
  "a table that is a directory": [(table) => {
    Deno.removeSync(table.path);
    Deno.mkdirSync(table.path);
  }, /EISDIR|regular/],
  "a table that is a symlink": [(table) => {
    Deno.renameSync(table.path, `${table.path}.moved`);
    Deno.symlinkSync(`${table.path}.moved`, table.path);
  }, /symlink|symbolic|regular|ELOOP/i],
};

for (const [what, [damage, says]] of Object.entries(DAMAGE)) {
  Deno.test({ name: `serve --cache shared refuses ${what}`, ignore }, async () => {
    using place = new Workplace();
    using table = new TablePath();
    try {
      await copyPristine(table);
      damage(table);
      const outcome = await run(serveArgs(place, "--cache", "shared", ...table.args(SLOTS)));
      assertRefused(outcome, 1, says);
      assert.match(outcome.stderr, new RegExp(table.path), "which file");
    } finally {
      removeIfThere(`${table.path}.moved`);
    }
  });
}

Deno.test(
  { name: "serve --cache shared refuses a table where nothing can be made", ignore },
  async () => {
    using place = new Workplace();
    const path = `${place.directory}/nowhere/table`;
    const outcome = await run(serveArgs(place, "--cache", "shared", "--version-table", path));
    assertRefused(outcome, 1, new RegExp(path));
  },
);

Deno.test({
  name: "serve --cache shared: a table outlives its daemons, whatever --version-slots says then",
  ignore,
}, async () => {
  using place = new Workplace();
  using table = new TablePath();
  const identities: bigint[] = [];
  for (const slots of [64, 64, 4096]) {
    const args = serveArgs(place, "--cache", "shared", ...table.args(slots));
    const outcome = await runDaemon(args);
    assert.equal(outcome.code, 0, outcome.stderr);
    identities.push(peek(table.path, 24));
    assert.equal(peek(table.path, 16), 64n, "slots of the table that there is");
  }
  assert.equal(new Set(identities).size, 1, "the same table");
});

Deno.test(
  { name: "serve --cache shared: nobody else gets at a table, whatever the umask", ignore },
  async () => {
    using place = new Workplace();
    using table = new TablePath();
    const args = serveArgs(place, "--cache", "shared", ...table.args(SLOTS));
    const outcome = await runDaemon(args, { through: "umask 0" });
    assert.equal(outcome.code, 0, outcome.stderr);
    for (const path of [table.path, table.registry]) {
      assert.equal(Deno.statSync(path).mode! & 0o777, 0o600, path);
    }
  },
);

/** A table as a daemon left it, with its registry: made once, for starting takes its time. */
const pristine: Uint8Array[] = [];

async function copyPristine(table: TablePath): Promise<void> {
  if (pristine.length === 0) {
    using place = new Workplace();
    using made = new TablePath();
    const outcome = await runDaemon(serveArgs(place, "--cache", "shared", ...made.args(SLOTS)));
    assert.equal(outcome.code, 0, outcome.stderr);
    pristine.push(Deno.readFileSync(made.path), Deno.readFileSync(made.registry));
  }
  const [bytes, registry] = pristine;
  Deno.writeFileSync(table.path, bytes!, { mode: 0o600 });
  Deno.writeFileSync(table.registry, registry!, { mode: 0o600 });
}

Deno.test(
  { name: "serve --cache shared takes a copy of a table and its registry", ignore },
  async () => {
    using place = new Workplace();
    using table = new TablePath();
    await copyPristine(table);
    const args = serveArgs(place, "--cache", "shared", ...table.args(SLOTS));
    const outcome = await runDaemon(args);
    assert.equal(outcome.code, 0, `what is refused is refused for its damage: ${outcome.stderr}`);
  },
);

function poke(path: string, at: number, value: bigint): void {
  using file = Deno.openSync(path, { read: true, write: true });
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(new BigUint64Array([value]).buffer));
}

function peek(path: string, at: number): bigint {
  return new DataView(Deno.readFileSync(path).buffer).getBigUint64(at, true);
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
