/**
 * Daemons of an ordinary user: from the one executable (the checkout need not be his to read), with ranges of ids that are his in a mount
 * namespace of the test's alone.
 *
 * @module
 */

import { compile } from "../../tools/compile.ts";
import { findProgram } from "../inspect/programs.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { IsolatedDaemon, type IsolatedOptions } from "./isolated_daemon.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** nobody, and nogroup. */
export const USER = 65534;
/** The first of the ids that the user may map beside his own. */
export const RANGE_START = 200_000;
/** How many. */
export const RANGE_SIZE = 65_536;

/** `$0` is a directory with the files. */
const WITH_RANGES = `
set -e
mount --bind "$0/subuid" /etc/subuid
mount --bind "$0/subgid" /etc/subgid
exec "$@"`;

/** Whether tests of id maps are left out: they take root and newuidmap, and where guest suites must run (`.ci/run`) so must these. */
export function ignoreWithoutIdMaps(): boolean {
  const has = ["newuidmap", "newgidmap"].every((name) => findProgram(name) !== null);
  const isRequired = Deno.env.get("VIRTIOFSD_TS_REQUIRE_GUEST") === "1";
  if (!has && !isRequired) console.log("tests of id maps are left out: package uidmap is missing");
  return ignoreWithoutRoot() || !has && !isRequired;
}

/** The executable, and the user's ranges. */
export class OrdinaryUser implements Disposable {
  readonly #place = new TempTree("vfsd-user-");

  private constructor() {
    const line = `${USER}:${RANGE_START}:${RANGE_SIZE}\n`;
    this.#place.file("subuid", line);
    this.#place.file("subgid", line);
  }

  /** Compiles. */
  static async open(): Promise<OrdinaryUser> {
    const user = new OrdinaryUser();
    const output = user.program;
    await compile({ entry: `${ROOT}main.ts`, output, config: `${ROOT}deno.json` });
    return user;
  }

  get program(): string {
    return this.#place.path("virtiofsd-ts");
  }

  /** A daemon of the user's; what it goes through beside, it goes through as the user. */
  start(options: IsolatedOptions = {}): Promise<IsolatedDaemon> {
    const identity = [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"];
    const through = ["unshare", "--mount", "sh", "-c", WITH_RANGES, this.#place.root, "setpriv"];
    return IsolatedDaemon.start({
      ...options,
      program: [this.program],
      through: [...through, ...identity, ...(options.through ?? [])],
    });
  }

  [Symbol.dispose](): void {
    this.#place[Symbol.dispose]();
  }
}
