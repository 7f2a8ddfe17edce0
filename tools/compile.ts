/**
 * Makes one executable out of the project: `deno task compile [--output FILE] [--entry FILE]`.
 *
 * The entry is bundled into one module first. With a usable denort (environment variable DENORT_BIN)
 * `deno compile` does the rest. Without one, offline, the running deno program itself becomes the
 * executable: start-up code and the bundle are added to it as a segment (see `start_code/`).
 *
 * What the program may rely on in either form: `import.meta.url` is the bundle, in every module;
 * `new Worker(import.meta.url)` runs the bundle again in a Worker, where `import.meta.main` is false
 * everywhere. The offline form reads the bundle through /proc: after a change of the root to a place
 * without /proc, or of the user without the right to open /proc/self/fd, no further Worker loads.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { makeBundle } from "./bundle.ts";
import { ElfImage, EM, isElf64 } from "./elf.ts";
import { makeAarch64StartCode } from "./start_code/aarch64.ts";
import type { StartCode, StartCodePlan } from "./start_code/start_code.ts";
import { makeX8664StartCode } from "./start_code/x86_64.ts";

/** What deno is told on its command line. The bundle's path follows, so their number must be odd. */
const DENO_ARGS = [
  "run",
  "--allow-all",
  "--ext=js",
  "--quiet",
  "--no-config", // neither a deno.json nor a package.json of the current directory
  "--no-lock",
  "--no-remote",
  "--no-npm",
  "--no-code-cache",
] as const;

/** Variables that change what deno does, and so what the daemon does: taken out at start. */
const DROP_PREFIXES = ["DENO_", "NODE_OPTIONS=", "NODE_CHANNEL_", "NODE_V8_COVERAGE="] as const;

/** Variables deno reads at start; the bundle takes them out again before anything can inherit them. */
const SETTINGS = {
  DENO_DIR: "/dev/null/deno", // cannot exist: caches stay in memory, nothing is written to $HOME
  DENO_DISABLE_NODE_SHIM: "1",
  DENO_NO_PACKAGE_JSON: "1",
  DENO_NO_UPDATE_CHECK: "1", // `deno run` asks for news over the network otherwise
} as const;

/** One executable to make. */
export interface CompileOptions {
  /** The main module. */
  readonly entry: string;
  /** The file to make. It is replaced at once or not at all. */
  readonly output: string;
  /** The project's deno.json, whose imports the bundle is resolved with. */
  readonly config: string;
  /** The denort for `deno compile`; without it the running deno is used. */
  readonly denort?: string | undefined;
}

/** Makes the executable; throws with one clear line if that cannot be done. */
export async function compile(options: CompileOptions): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "compile-" });
  try {
    const bundle = `${directory}/${baseName(options.output)}.js`;
    const name = baseName(options.output);
    const { config, entry } = options;
    await makeBundle({ config, entry, name, unset: Object.keys(SETTINGS) }, bundle);
    const output = `${options.output}.${Deno.pid}.part`;
    try {
      if (options.denort !== undefined && await isDenort(options.denort)) {
        await denoCompile(bundle, output, options.denort);
      } else {
        await addToDeno(bundle, output, name);
      }
      await Deno.rename(output, options.output);
    } finally {
      await Deno.remove(output).catch(() => {}); // gone already if all went well
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function addToDeno(bundle: string, output: string, name: string): Promise<void> {
  const base = Deno.execPath();
  const bytes = await Deno.readFile(base);
  if (!isElf64(bytes)) throw new Error(`Cannot use "${base}": not an ELF program`);
  const image = new ElfImage(bytes);
  const program = await Deno.readFile(bundle);
  const address = image.freeAddress();
  const { code } = makeStartCode(image.machine, {
    address,
    entry: image.entry,
    environSlot: image.gotSlot("environ"),
    setenvSlot: image.gotSlot("setenv"),
    name,
    denoArgs: DENO_ARGS,
    dropPrefixes: DROP_PREFIXES,
    settings: SETTINGS,
    programSize: program.length,
  });
  const content = new Uint8Array(code.length + program.length);
  content.set(code);
  content.set(program, code.length);
  await Deno.writeFile(output, image.withSegment(content, address, address), { mode: 0o755 });
  await Deno.chmod(output, 0o755); // whatever the umask
}

/** Makes the start-up code for a machine, or throws if there is none for it. */
export function makeStartCode(machine: number, plan: StartCodePlan): StartCode {
  switch (machine) {
    case EM.X86_64:
      return makeX8664StartCode(plan);
    case EM.AARCH64:
      return makeAarch64StartCode(plan);
    default:
      throw new Error(`Cannot compile for ELF machine ${machine}: only x86-64 and aarch64`);
  }
}

/** True unless the program is missing or is the deno command line, which `deno compile` also takes. */
async function isDenort(path: string): Promise<boolean> {
  try {
    const { stdout } = await new Deno.Command(path, { args: ["--version"] }).output();
    return !new TextDecoder().decode(stdout).startsWith("deno ");
  } catch {
    console.error(`warning: DENORT_BIN="${path}" cannot be run, going on without it`);
    return false;
  }
}

async function denoCompile(bundle: string, output: string, denort: string): Promise<void> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--quiet", "--allow-all", "--no-check", "-o", output, bundle],
    env: { DENORT_BIN: denort },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (code !== 0) throw new Error(`Cannot compile: "deno compile" exited with ${code}`);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

async function main(args: string[]): Promise<number> {
  const root = new URL("../", import.meta.url).pathname;
  try {
    const { values } = parseArgs({
      args,
      options: { entry: { type: "string" }, output: { type: "string" } },
    });
    const output = values.output ?? `${root}dist/virtiofsd-ts`;
    await Deno.mkdir(output.slice(0, output.lastIndexOf("/")) || ".", { recursive: true });
    await compile({
      entry: values.entry ?? `${root}main.ts`,
      output,
      config: `${root}deno.json`,
      denort: Deno.env.get("DENORT_BIN") || undefined,
    });
    const { size } = await Deno.stat(output);
    console.log(`${output}: ${(size / 1e6).toFixed(1)} MB`);
    return 0;
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
