/**
 * Which process serves, where a daemon is two (ARCHITECTURE.md, "Two processes").
 *
 * @module
 */

/** The only child of the process that was started. */
export function servingPid(started: number): number {
  const path = `/proc/${started}/task/${started}/children`;
  const children = Deno.readTextFileSync(path).trim().split(" ").filter((word) => word !== "");
  if (children.length !== 1) throw new Error(`children of ${started}: ${children}`);
  return Number(children[0]);
}
