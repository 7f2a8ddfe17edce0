import { deepEqual, equal, ok } from "node:assert/strict";
import { VersionFiles } from "../../src/coherence/version_files.ts";
import { randomNumbers, seedOf } from "../intervals/random.ts";
import { failed } from "./storm.ts";
import { TableFiles } from "./table_files.ts";

const PROGRAM = new URL("./maker_process.ts", import.meta.url).pathname;
// Half a MiB each.
const ROUNDS = 60;
const KILLS = 6;

function spawn(directory: string, rounds: number, makers: number, number: number) {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", PROGRAM, directory, ...[rounds, makers, number].map(String)],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("version table: daemons that make one at the same instant have the same one", async () => {
  using files = new TableFiles(64);
  Deno.writeFileSync(`${files.directory}/barrier`, new Uint8Array(4096));
  const outputs = await Promise.all(
    [0, 1].map((number) => spawn(files.directory, ROUNDS, 2, number).output()),
  );
  for (const { stderr } of outputs) equal(new TextDecoder().decode(stderr), "");
  const [one, other] = outputs.map(({ stdout }) => JSON.parse(new TextDecoder().decode(stdout)));
  equal(one.length, ROUNDS);
  deepEqual(one, other);
  equal(new Set(one).size, ROUNDS);
});

Deno.test("version table: whoever makes it is killed with SIGKILL: the next one can", async () => {
  const seed = seedOf();
  const random = randomNumbers(seed);
  for (let kill = 0; kill < KILLS; kill++) {
    using files = new TableFiles(64);
    Deno.writeFileSync(`${files.directory}/barrier`, new Uint8Array(4096));
    const maker = spawn(files.directory, 1_000_000, 1, 0);
    const output = maker.output();
    // From the first table on, at any instant.
    while (!exists(`${files.directory}/1`)) await new Promise((resolve) => setTimeout(resolve, 1));
    const end = performance.now() + random(20_000) / 1000;
    while (performance.now() < end);
    maker.kill("SIGKILL");
    equal((await output).signal, "SIGKILL");
    const tables = new Set<string>();
    for (const { name } of Deno.readDirSync(files.directory)) {
      if (name !== "barrier") tables.add(name.replace(".registry", ""));
    }
    ok(tables.size > 0);
    for (const table of tables) {
      try {
        VersionFiles.open({ path: `${files.directory}/${table}`, slotCount: 64 }).close();
      } catch (error) {
        throw failed(seed, "makers_test.ts", [(error as Error).message]);
      }
    }
  }
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
