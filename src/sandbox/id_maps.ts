/**
 * The id maps of a user namespace (user_namespaces(7)), written for a child that waits in it.
 *
 * Ranges other than one's own id take newuidmap(1) and newgidmap(1), which look them up in /etc/subuid and /etc/subgid.
 *
 * @module
 */

import type { IdRange } from "../isolation_config.ts";
import { SetupError } from "../setup_error.ts";

const FIELDS = 3;
const ID_MAX = 2 ** 32 - 2;

/** `:INSIDE:OUTSIDE:COUNT:`, as Rust virtiofsd takes it; or in a few words what is wrong. */
export function parseIdRange(text: string): IdRange | string {
  const match = /^:(\d+):(\d+):(\d+):$/.exec(text);
  if (match === null) return "expected :INSIDE:OUTSIDE:COUNT:";
  const [inside, outside, count] = match.slice(1, 1 + FIELDS).map(Number) as [
    number,
    number,
    number,
  ];
  if (count === 0) return "the count is 0";
  if (inside + count - 1 > ID_MAX || outside + count - 1 > ID_MAX) {
    return "there are no such ids: they have 32 bits";
  }
  return { inside, outside, count };
}

/** Writes both maps of `pid`. Throws {@linkcode SetupError}. */
export async function writeIdMaps(
  pid: number,
  uidMap: readonly IdRange[],
  gidMap: readonly IdRange[],
): Promise<void> {
  const uid = Deno.uid()!;
  const gid = Deno.gid()!;
  const uids = uidMap.length > 0 ? uidMap : [{ inside: uid, outside: uid, count: 1 }];
  const gids = gidMap.length > 0 ? gidMap : [{ inside: gid, outside: gid, count: 1 }];
  if (isOwn(gids, gid)) {
    // Who may not set groups may write a map of his own group.
    write(`/proc/${pid}/setgroups`, "deny");
    write(`/proc/${pid}/gid_map`, line(gids));
  } else await run("newgidmap", pid, gids, "--gid-map", "/etc/subgid");
  if (isOwn(uids, uid)) write(`/proc/${pid}/uid_map`, line(uids));
  else await run("newuidmap", pid, uids, "--uid-map", "/etc/subuid");
}

function isOwn(ranges: readonly IdRange[], id: number): boolean {
  return ranges.length === 1 && ranges[0]!.count === 1 && ranges[0]!.outside === id;
}

function line(ranges: readonly IdRange[]): string {
  return ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join("");
}

function write(path: string, text: string): void {
  try {
    Deno.writeTextFileSync(path, text, { create: false });
  } catch (error) {
    throw new SetupError(
      `The user namespace's ids cannot be mapped (${path}): ${(error as Error).message}`,
    );
  }
}

async function run(
  program: string,
  pid: number,
  ranges: readonly IdRange[],
  option: string,
  file: string,
): Promise<void> {
  const numbers = ranges.flatMap(({ inside, outside, count }) => [inside, outside, count]);
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, {
      args: [pid, ...numbers].map(String),
      stdin: "null",
    }).output();
  } catch (error) {
    throw new SetupError(
      `${option} needs the program ${program} (package uidmap): ${(error as Error).message}`,
    );
  }
  if (output.success) return;
  const said = new TextDecoder().decode(output.stderr).trim();
  throw new SetupError(`${option} is refused by ${program} (see ${file}): ${said}`);
}
