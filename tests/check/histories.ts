/**
 * Histories written by hand, for the tests of the check of coherence.
 *
 * @module
 */

import type { Call, Operation, Result } from "../../src/check/coherence/operations.ts";
import { State } from "../../src/check/coherence/state.ts";

/** `PLACES` by their paths. */
export const A = 0, B = 1, C = 2, INNER_A = 3;
export const OPTIONS = { countsDirectories: true };
/** Two guests with two files each. */
export const EMPTY: State = State.empty(4);

/** What a guest did from one order number to another. */
export function call(
  guest: number,
  [invoked, returned]: readonly [number, number],
  operation: Operation,
  result: Result = 0,
): Call {
  return { guest, thread: guest, operation, invoked, returned, result };
}

/** Operations one after the other, none at the same time as another. */
export function inTurn(...steps: readonly (readonly [number, Operation, Result?])[]): Call[] {
  return steps.map(([guest, operation, result], i) => {
    return call(guest, [2 * i + 1, 2 * i + 2], operation, result);
  });
}

/** Content of full length. */
export function value(text: string): string {
  return text.padEnd(16, ".");
}
