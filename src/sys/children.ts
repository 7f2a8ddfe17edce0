/**
 * Which processes a process has started: a daemon in a sandbox is two.
 *
 * @module
 */

/** Its children, whichever thread has them; none if it has ended. */
export function childrenOf(pid: number): number[] {
  try {
    const tasks = `/proc/${pid}/task`;
    return Array.from(Deno.readDirSync(tasks), ({ name }) => name).flatMap((thread) =>
      Deno.readTextFileSync(`${tasks}/${thread}/children`).split(" ")
    ).filter((word) => word !== "").map(Number);
  } catch {
    return [];
  }
}
