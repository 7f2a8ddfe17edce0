/**
 * The options by which the daemon isolates itself, and what they mean.
 *
 * @module
 */

import { group, object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { multiple } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import type { InferValue } from "@optique/core/parser";
import { choice, string } from "@optique/core/valueparser";
import {
  type CapabilityChanges,
  type IdRange,
  type IsolationConfig,
  SANDBOX_MODES,
  SECCOMP_ACTIONS,
} from "../isolation_config.ts";
import { capabilityNumber } from "../sandbox/capabilities.ts";
import { parseIdRange } from "../sandbox/id_maps.ts";
import { SetupError } from "../setup_error.ts";
import { lastOf } from "./parse.ts";

/** The options, as a group of the help. */
export const isolationOptions = group(
  "Isolation",
  object({
    sandbox: lastOf(
      option("--sandbox", choice(SANDBOX_MODES, { metavar: "MODE" }), {
        description:
          message`namespace (the default): the serving process has mount, pid and network namespaces of its own and the shared directory for its root, also for ordinary users (by a user namespace); chroot: the root only, for containers; none.`,
      }),
    ),
    seccomp: lastOf(
      option("--seccomp", choice(SECCOMP_ACTIONS, { metavar: "ACTION" }), {
        description:
          message`What happens at a system call that a daemon does not make: kill (the default), log (to the kernel's log, and let it pass), trap (end, naming the call), none.`,
      }),
    ),
    modcaps: lastOf(option("--modcaps", string({ metavar: "LIST" }), {
      description:
        message`Capabilities kept beside or not among the usual, as +sys_admin:-mknod. Usual are chown, dac_override, fowner, fsetid, mknod, setfcap, setgid, setuid, and with file handles dac_read_search.`,
    })),
    uidMap: multiple(option("--uid-map", string({ metavar: ":INSIDE:OUTSIDE:COUNT:" }), {
      description:
        message`User ids of the user namespace that an ordinary user's daemon is in. May be repeated. Ranges other than one's own id take newuidmap and /etc/subuid. Default: one's own id as it is.`,
    })),
    gidMap: multiple(option("--gid-map", string({ metavar: ":INSIDE:OUTSIDE:COUNT:" }), {
      description: message`Group ids likewise.`,
    })),
  }),
);

/** What was given of them. */
export type IsolationOptions = InferValue<typeof isolationOptions>;

/**
 * The isolation that options describe. Throws {@linkcode SetupError}; `isRoot` is whether the daemon needs no user namespace to have
 * others.
 */
export function isolationOf(options: IsolationOptions, isRoot: boolean): IsolationConfig {
  const sandbox = options.sandbox ?? "namespace";
  const uidMap = options.uidMap.map((text) => rangeOf("--uid-map", text));
  const gidMap = options.gidMap.map((text) => rangeOf("--gid-map", text));
  for (const [name, map] of [["--uid-map", uidMap], ["--gid-map", gidMap]] as const) {
    if (map.length === 0) continue;
    if (sandbox !== "namespace") throw new SetupError(`${name} needs --sandbox namespace`);
    if (isRoot) {
      throw new SetupError(
        `${name} is for ordinary users, whose daemon is in a user namespace; root's is not (see --translate-uid)`,
      );
    }
  }
  return {
    sandbox,
    seccomp: options.seccomp ?? "kill",
    capabilities: options.modcaps === undefined ? null : changesOf(options.modcaps),
    uidMap,
    gidMap,
  };
}

function rangeOf(option: string, text: string): IdRange {
  const range = parseIdRange(text);
  if (typeof range === "string") throw new SetupError(`${option} ${text}: ${range}`);
  return range;
}

/** `+sys_admin:-mknod` */
function changesOf(list: string): CapabilityChanges {
  const add: number[] = [];
  const remove: number[] = [];
  for (const word of list.split(":")) {
    const sign = word[0];
    if (sign !== "+" && sign !== "-") {
      throw new SetupError(`--modcaps ${list}: "${word}" begins with neither + nor -`);
    }
    const number = capabilityNumber(word.slice(1));
    if (number === null) {
      throw new SetupError(`--modcaps ${list}: there is no capability ${word.slice(1)}`);
    }
    (sign === "+" ? add : remove).push(number);
  }
  return { add, remove };
}
