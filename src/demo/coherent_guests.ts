/**
 * Two guests, each with a daemon of its own, that share versions: what one of them changes, the other sees at its next call, and until then
 * nobody is asked anything.
 *
 * @module
 */

import { Guest } from "../guest/guest.ts";
import type { GuestTask } from "./sample.ts";

const STAT_COUNT = 100_000;
const MISSING = "made-later.txt";

/** Runs the two through the daemons at these sockets; tells what happens, and returns whether it was as it should be. */
export async function runCoherentGuests(
  socketPaths: readonly [string, string],
  task: GuestTask,
  tell: (guest: "A" | "B", line: string) => void,
): Promise<boolean> {
  await using a = await Guest.connect({ socketPath: socketPaths[0], cache: "shared" });
  await using b = await Guest.connect({ socketPath: socketPaths[1], cache: "shared" });
  const step = (what: string, act: () => string): number => {
    const before = requestsOf(a);
    const result = act();
    const requests = requestsOf(a) - before;
    tell("A", `${what}: ${result}; ${requests} request${requests === 1 ? "" : "s"}`);
    return requests;
  };
  const size = () => `${a.statSync(task.readName).size} bytes`;
  const looksMissing = () => exists(a, MISSING) ? "there" : "not there";
  step(`stat ${task.readName}`, size);
  step(`stat ${MISSING}`, looksMissing);
  const idle = step(`both, ${STAT_COUNT} times`, () => {
    const start = performance.now();
    for (let i = 0; i < STAT_COUNT; i++) a.statSync(task.readName);
    const each = (performance.now() - start) * 1000 / STAT_COUNT;
    for (let i = 0; i < STAT_COUNT; i++) exists(a, MISSING);
    return `${each.toFixed(2)} µs for each of the first`;
  });
  const longer = `${task.readText}And a line by guest B.\n`;
  b.writeTextFileSync(task.readName, longer);
  tell("B", `writes ${task.readName}, makes ${MISSING}`);
  b.writeTextFileSync(MISSING, "");
  step(`stat ${task.readName}`, size);
  step(`stat ${MISSING}`, looksMissing);
  const seen = a.statSync(task.readName).size === longer.length &&
    a.readTextFileSync(task.readName) === longer && exists(a, MISSING);
  b.writeTextFileSync(task.readName, task.readText);
  b.removeSync(MISSING);
  return seen && idle === 0 && !exists(a, MISSING);
}

function requestsOf(guest: Guest): number {
  return guest.traffic.reduce((sum, { requests }) => sum + requests, 0);
}

/** A missing name is an exception for most; here it is asked for a hundred thousand times. */
function exists(guest: Guest, name: string): boolean {
  try {
    guest.lstatSync(name);
    return true;
  } catch {
    return false;
  }
}
