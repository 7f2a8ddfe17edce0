/**
 * The version of this program: what `--version` prints. `deno.json` says the same, and a test holds the
 * two together.
 *
 * @module
 */

/** The name under which the program speaks of itself. */
export const PROGRAM_NAME = "virtiofsd-ts";

/** The program's version, `MAJOR.MINOR.PATCH`. */
export const VERSION = "0.1.0";
