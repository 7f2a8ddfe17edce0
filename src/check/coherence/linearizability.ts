/**
 * Whether a history can be explained: is there an order of all steps, each between its operation's call and return, in which the single copy
 * gives every result that was recorded?
 *
 * After Wing and Gong ("Testing and verifying concurrent objects", 1993) and Lowe ("Testing for linearizability", 2017): calls and returns
 * are gone through in their order with all configurations that are possible so far, a state of the file system and how far each
 * operation in progress has come. Steps are taken as late as can be: only when an operation returns must it have been done. Equal
 * configurations are one, so that the work grows with the length of the history and not with the number of orders.
 *
 * A call without a result (its daemon was killed) is pending in Wing's and Gong's sense until its guest knew that the daemon was gone: it may
 * have taken effect by then, or never will, since a process has left its last system call before the kernel closes its socket.
 *
 * @module
 */

import { advance, begun, DONE, type ModelOptions, type Progress } from "./model.ts";
import type { Call, Result } from "./operations.ts";
import type { State } from "./state.ts";

/** What came out. */
export type Verdict =
  /** All states that the file system can be in now. */
  | { readonly kind: "linearizable"; readonly states: readonly State[] }
  /** No order explains the return of this call, which could have given the results that are possible. */
  | { readonly kind: "violation"; readonly call: Call; readonly possible: readonly Result[] }
  /** There were too many configurations. */
  | { readonly kind: "undecided"; readonly call: Call };

/** Configurations looked at for one return; some dozens are usual. */
const CONFIGURATION_COUNT_MAX = 200_000;

/** A state, and the operations in progress in it. */
interface Configuration {
  readonly state: State;
  readonly progress: readonly Progress[];
}

/** A call or a return. */
interface Event {
  readonly order: number;
  readonly call: Call;
  readonly returns: boolean;
}

/** Checks a history that begins in one of the states, with nothing in progress. Calls that do not return may have been done or not. */
export function checkHistory(
  options: ModelOptions,
  initial: readonly State[],
  history: readonly Call[],
): Verdict {
  let configurations: readonly Configuration[] = distinct(
    initial.map((state) => ({ state, progress: [] })),
  );
  for (const { call, returns } of eventsOf(history)) {
    if (!returns) {
      configurations = configurations.map(({ state, progress }) => {
        return { state, progress: [...progress, begun(call)] };
      });
      continue;
    }
    const after = returned(options, configurations, call);
    if (after === null) return { kind: "undecided", call };
    if (after.length === 0) {
      return { kind: "violation", call, possible: possibleResults(options, configurations, call) };
    }
    configurations = after;
  }
  const states = new Map(configurations.map(({ state }) => [state.key, state]));
  return { kind: "linearizable", states: [...states.values()] };
}

/** What a call could have returned from these configurations. */
function possibleResults(
  options: ModelOptions,
  before: readonly Configuration[],
  call: Call,
): Result[] {
  const results = new Set<Result>();
  returned(options, before, call, (result) => results.add(result));
  return [...results].sort();
}

/** All configurations in which a call has been done, without it; null if there are too many. Without a result it may have stopped anywhere. */
function returned(
  options: ModelOptions,
  before: readonly Configuration[],
  call: Call,
  possible?: (result: Result) => void,
): Configuration[] | null {
  const seen = new Set<string>();
  const todo = [...before];
  const after: Configuration[] = [];
  const isLost = call.result === null;
  const without = ({ state, progress }: Configuration): void => {
    const left = progress.filter((each) => each.call !== call);
    after.push({ state: state.swept(left.map(({ node }) => node)), progress: left });
  };
  if (isLost) before.forEach(without);
  for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
    const { state, progress } = at;
    const own = progress.findIndex((other) => other.call === call);
    if (progress[own]!.step === DONE) {
      if (!isLost) without(at);
      continue;
    }
    progress.forEach((each, i) => {
      if (each.step === DONE) return;
      advance(options, state, each, (next, further) => {
        const configuration = { state: next, progress: progress.with(i, further) };
        const key = keyOf(configuration);
        if (seen.has(key)) return;
        seen.add(key);
        todo.push(configuration);
        if (isLost && i === own) without(configuration);
      }, i === own ? possible : undefined);
    });
    if (seen.size > CONFIGURATION_COUNT_MAX) return null;
  }
  return distinct(after);
}

function distinct(configurations: readonly Configuration[]): Configuration[] {
  return [...new Map(configurations.map((each) => [keyOf(each), each])).values()];
}

/** Nodes that have lost their last name count, too, while an operation has them in hand. */
function keyOf({ state, progress }: Configuration): string {
  let key = state.key;
  for (const { call, step, node, names } of progress) {
    key += `#${call.invoked},${step},${node},${names}`;
    if (node !== 0) key += JSON.stringify(state.nodes.get(node));
  }
  return key;
}

function eventsOf(history: readonly Call[]): Event[] {
  const events: Event[] = [];
  for (const call of history) {
    events.push({ order: call.invoked, call, returns: false });
    if (call.returned !== Infinity) events.push({ order: call.returned, call, returns: true });
  }
  return events.sort((a, b) => a.order - b.order);
}
