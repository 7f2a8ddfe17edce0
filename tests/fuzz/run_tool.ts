/**
 * Runs one of the fuzzers as a program.
 *
 * @module
 */

/** Its outcome and everything that it printed, with the seed in it. */
export async function runTool(
  name: string,
  args: readonly string[],
): Promise<{ success: boolean; output: string }> {
  const path = new URL(name, import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", path, ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { success, output: text(stdout) + text(stderr) };
}
