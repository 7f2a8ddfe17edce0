import { deepEqual, equal } from "node:assert/strict";
import type { Need } from "../../src/check/posix/check.ts";
import { C_DAEMON, isInstalled, REQUIRED, RUST_DAEMON } from "./daemons.ts";

const MAIN = new URL("../../main.ts", import.meta.url).href;
const isRoot = Deno.uid() === 0;

interface MapResult {
  readonly failed: string[];
  readonly passed: number;
}

/** Runs `check posix` and returns the names of the checks that failed. */
async function checkPosix(
  args: readonly string[],
  without: readonly Need[] = [],
): Promise<MapResult> {
  const left = without.length === 0 ? [] : ["--without", without.join(",")];
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "check", "posix", "--json", ...args, ...left],
    stdin: "null",
  }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
  const summary = lines.pop()?.summary;
  if (summary === undefined) throw new Error(new TextDecoder().decode(stderr));
  equal(summary.passed + summary.failed > 3000, true, "the whole map ran");
  return {
    passed: summary.passed,
    failed: lines.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`),
  };
}

/** A table of this run's own. */
const TABLE = `/dev/shm/virtiofsd-ts-posix-map-${crypto.randomUUID()}`;
globalThis.addEventListener("unload", () => {
  for (const path of [TABLE, `${TABLE}.registry`]) {
    try {
      Deno.removeSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
});

const OURS: readonly (readonly [name: string, serve: string, without: Need[], guest: string])[] = [
  ["cache=auto", "--cache auto", [], "auto"],
  ["cache=never", "--cache never", [], "auto"],
  ["cache=metadata", "--cache metadata", [], "auto"],
  ["cache=always, write-back", "--cache always --writeback", ["seek-data"], "auto"],
  ["a guest without caches", "--cache auto --posix-lock --flock", [], "none"],
  ["DAX", "--cache auto --dax always --dax-window 16M", [], "auto --dax always"],
  ["shared versions", `--cache shared --version-table ${TABLE}`, [], "shared"],
];

for (const [name, serve, without, cache] of OURS) {
  Deno.test({
    name: `the POSIX map through the guest: our daemon, ${name}`,
    ignore: !isRoot,
    async fn() {
      const daemon =
        `${Deno.execPath()} run -A ${MAIN} serve --xattr --modcaps=+sys_admin ${serve}`;
      const command = `${daemon} --shared-dir {dir} --socket-path {socket}`;
      const { failed } = await checkPosix(
        ["--command", command, "--cache", ...cache.split(" ")],
        without,
      );
      deepEqual(failed, []);
    },
  });
}

// What these daemons are known not to do. A name that is not in a group here is our guest's fault, or news.
const GROUPS_UNKNOWN = /supplementary group|TEAM|ALICE_IN_TEAM/;
const C_LACKS = [GROUPS_UNKNOWN, /O_TMPFILE/, /set-id|set-group-ID/, /trusted/, /renameat2/];
const RUST_LACKS = [/O_TMPFILE/, /trusted/, /set-id: open with O_TRUNC/];

Deno.test({
  name: "the POSIX map through the guest: the C daemon of Debian 12, but for what it lacks",
  ignore: !isRoot || (!isInstalled(C_DAEMON) && !REQUIRED),
  async fn() {
    const daemon =
      `${C_DAEMON} -f --socket-path={socket} -o source={dir} -o sandbox=chroot -o xattr`;
    const { failed, passed } = await checkPosix(["--command", daemon]);
    deepEqual(failed.filter((line) => !C_LACKS.some((lack) => lack.test(line))), []);
    equal(passed > 3100, true);
  },
});

Deno.test({
  name: "the POSIX map through the guest: Rust virtiofsd, but for what it lacks",
  ignore: !isRoot || !isInstalled(RUST_DAEMON),
  async fn() {
    const daemon =
      `${RUST_DAEMON} --sandbox none --seccomp none --inode-file-handles=never --xattr`;
    const command = `${daemon} --shared-dir {dir} --socket-path {socket}`;
    const { failed, passed } = await checkPosix(["--command", command]);
    deepEqual(failed.filter((line) => !RUST_LACKS.some((lack) => lack.test(line))), []);
    equal(passed > 3100, true);
  },
});
