/**
 * Programs that only these tests need, and what is done where they are missing.
 *
 * @module
 */

const required = Deno.env.get("VIRTIOFSD_TS_REQUIRE_SCREENS") === "1";

/** The path of a program, or null where it is not installed; that is an error if VIRTIOFSD_TS_REQUIRE_SCREENS=1. */
export function findProgram(name: string): string | null {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${folder}/${name}`;
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch {
      // Not there.
    }
  }
  if (required) throw new Error(`${name} is not installed`);
  return null;
}
