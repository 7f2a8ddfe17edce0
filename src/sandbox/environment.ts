/**
 * The environment of the process that serves.
 *
 * @module
 */

/**
 * What it is started with of its own: where its program is and keeps what it has compiled, and how it writes. Anything else could name files that
 * the runtime looks for at some later time (certificates, for one), when the root is the share and the guest would answer; and a launcher's
 * secrets are none of a guest's business.
 */
const KEPT = [
  "DENO_DIR",
  "HOME",
  "LANG",
  "LC_ALL",
  "LD_LIBRARY_PATH",
  "NO_COLOR",
  "PATH",
  "TMPDIR",
  "TZ",
  "XDG_CACHE_HOME",
] as const;

/** The runtime would look for a newer one of itself some time after its start, on a thread of its own. */
const ADDED = { DENO_NO_UPDATE_CHECK: "1" } as const;

/** The server's environment, out of this process's. */
export function serverEnvironment(
  own: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const kept: Record<string, string> = { ...ADDED };
  for (const name of KEPT) {
    const value = own[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}
