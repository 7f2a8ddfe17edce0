/**
 * How this program starts another copy of itself, from a checkout or from the one executable.
 *
 * @module
 */

/** The program and the arguments that come before those of the new copy. */
export function selfCommand(): { program: string; args: readonly string[] } {
  const program = Deno.execPath();
  // In the one executable all modules are one file, and the executable alone is the program.
  if (!import.meta.url.endsWith("/cli/self_command.ts")) return { program, args: [] };
  const main = new URL("../../main.ts", import.meta.url).href;
  return { program, args: ["run", "-A", main] };
}
