/**
 * A process and those that it has started, from /proc.
 *
 * @module
 */

import type { ProcessSample } from "./sample.ts";

/** A process and its descendants, parents first. */
export function familyOf(pid: number): number[] {
  const family = [pid];
  for (const { name } of directory(`/proc/${pid}/task`)) {
    const children = read(`/proc/${pid}/task/${name}/children`).split(" ").filter((word) =>
      +word > 0
    );
    for (const child of children) family.push(...familyOf(Number(child)));
  }
  return family;
}

/** Measures one. Throws if it is not there. */
export function measure(pid: number, name: string): ProcessSample {
  const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  const kib = (field: string) =>
    Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(rollup)?.[1] ?? NaN);
  return {
    name,
    pid,
    pss: kib("Pss"),
    own: kib("Pss_Anon") + kib("Pss_Shmem"),
    anonymous: kib("Anonymous"),
    threads: counted(
      directory(`/proc/${pid}/task`).map(({ name }) => read(`/proc/${pid}/task/${name}/comm`)),
    ),
    descriptors: counted(
      directory(`/proc/${pid}/fd`).map(({ name }) => kindOf(linkOf(`/proc/${pid}/fd/${name}`))),
    ),
  };
}

/** How often each is there; what is empty has gone meanwhile. */
function counted(kinds: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of kinds.filter((kind) => kind !== "").sort()) {
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** What a descriptor is: `memfd NAME`, `eventfd`, `socket`, `file`, … */
function kindOf(link: string): string {
  if (link === "") return "";
  if (link.startsWith("/memfd:")) return `memfd ${link.slice(7).replace(/ \(deleted\)$/, "")}`;
  if (link.startsWith("anon_inode:")) return link.slice(11).replace(/[[\]]/g, "");
  if (/^\w+:\[\d+\]$/.test(link)) return link.slice(0, link.indexOf(":"));
  return link.startsWith("/dev/") ? link : "file";
}

/** Empty if it has been closed meanwhile. */
function linkOf(path: string): string {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return "";
  }
}

function directory(path: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(path)];
  } catch {
    // It, or the thread, has ended.
    return [];
  }
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path).trim();
  } catch {
    return "";
  }
}
