/**
 * Compiling and running executables in the tests of `tools/compile.ts`.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url).pathname;

/** How a program ended and what it wrote. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, in an empty environment unless one is given. */
export async function run(
  program: string,
  args: readonly string[],
  options: Deno.CommandOptions = {},
): Promise<Outcome> {
  const output = await new Deno.Command(program, {
    clearEnv: true,
    stdin: "null",
    ...options,
    args: [...args],
  }).output();
  const text = new TextDecoder();
  return {
    code: output.code,
    stdout: text.decode(output.stdout),
    stderr: text.decode(output.stderr),
  };
}

/** Runs `tools/compile.ts` the way `deno task compile` does. */
export function runCompile(args: readonly string[]): Promise<Outcome> {
  const program = ["run", "-A", "-c", `${ROOT}deno.json`, `${ROOT}tools/compile.ts`];
  return run(Deno.execPath(), [...program, ...args], {
    clearEnv: false,
    env: { DENORT_BIN: "", NO_COLOR: "1" },
  });
}

/** The path of a file of the project. */
export function projectPath(name: string): string {
  return ROOT + name;
}
