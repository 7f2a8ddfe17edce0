/**
 * How this program starts another copy of itself, from a checkout or from the one executable.
 *
 * @module
 */

/** The program and the arguments that come before those of the new copy. */
export function selfCommand(): { program: string; args: readonly string[] } {
  const program = Deno.execPath();
  // The one executable carries its code inside, so the executable alone is the program.
  const carried = Deno.build.standalone || Deno.mainModule.startsWith("file:///proc/");
  return carried ? { program, args: [] } : { program, args: ["run", "-A", Deno.mainModule] };
}
