/**
 * The map of POSIX checks: every claim by its name. The same map runs on a plain host directory
 * and inside a guest on a served one.
 *
 * @module
 */

import type { Add, Check } from "./check.ts";
import { allocationChecks } from "./checks/allocation.ts";
import { attributesChecks } from "./checks/attributes.ts";
import { directoriesChecks } from "./checks/directories.ts";
import { filesChecks } from "./checks/files.ts";
import { linksChecks } from "./checks/links.ts";
import { locksChecks } from "./checks/locks.ts";
import { mappingsChecks } from "./checks/mappings.ts";
import { namesChecks } from "./checks/names.ts";
import { nodesChecks } from "./checks/nodes.ts";
import { opensChecks } from "./checks/opens.ts";
import { permissionsChecks } from "./checks/permissions.ts";
import { renamesChecks } from "./checks/renames.ts";
import { spellingsChecks } from "./checks/spellings.ts";
import { timesChecks } from "./checks/times.ts";
import { xattrsChecks } from "./checks/xattrs.ts";

const checks = new Map<string, Check>();

const add: Add = (name, run, ...needs) => {
  if (checks.has(name)) throw new Error(`Two checks are called "${name}"`);
  checks.set(name, { run, needs: [...new Set(needs)] });
};

for (
  const family of [
    namesChecks,
    spellingsChecks,
    nodesChecks,
    linksChecks,
    renamesChecks,
    attributesChecks,
    timesChecks,
    permissionsChecks,
    opensChecks,
    filesChecks,
    allocationChecks,
    mappingsChecks,
    directoriesChecks,
    xattrsChecks,
    locksChecks,
  ]
) family(add);

/** All checks by name. */
export const POSIX_CHECKS: ReadonlyMap<string, Check> = checks;
