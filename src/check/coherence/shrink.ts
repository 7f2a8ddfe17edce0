/**
 * The shortest history that still shows a violation.
 *
 * To drop operations while no order explains the rest is not enough: without the write of a value, reading it is a violation too, and a
 * pointless one. So a shorter history is taken only if it fails at the same operation, which could have given the same results instead; and, if the result of that operation would have
 * been right at some time before (it is stale), if that is still so: what made it right, and what made it wrong, both stay. A result that never
 * was right stands alone. What went on at the same time with the same names is left in.
 *
 * @module
 */

import { checkHistory } from "./linearizability.ts";
import type { ModelOptions } from "./model.ts";
import { type Call, LOOKING, PLACES, type Result } from "./operations.ts";
import type { State } from "./state.ts";

/** A history that nothing explains. */
export interface Violation {
  /** The states that it can begin in. */
  readonly initial: readonly State[];
  /** In the order of the calls. Calls that had not returned when the violation showed have Infinity for their return. */
  readonly history: readonly Call[];
  /** The one that nothing explains. */
  readonly call: Call;
  /** What it could have given. */
  readonly possible: readonly Result[];
  /** Whether its result would have been right before. */
  readonly isStale: boolean;
}

/** Makes a violation at `call` as short as it gets. */
export function shrink(
  options: ModelOptions,
  initial: readonly State[],
  history: readonly Call[],
  call: Call,
): Violation {
  const possibleIn = (states: readonly State[], calls: readonly Call[]) => {
    const verdict = checkHistory(options, states, calls);
    return verdict.kind === "violation" && verdict.call === call ? verdict.possible : null;
  };
  const isStale = (states: readonly State[], calls: readonly Call[]) => {
    return wouldHaveBeenRight(options, states, calls, call);
  };
  const cut: readonly Call[] = upTo(history, call);
  const stale = isStale(initial, cut);
  const possible = possibleIn(initial, cut) ?? [];
  const fits = (states: readonly State[], tried: readonly Call[]) => {
    const same = possibleIn(states, tried)?.join() === possible.join();
    return same && (!stale || isStale(states, tried));
  };
  // What happened at the same time may tell more than the model knows.
  const stays = (each: Call) => {
    return each === call || (overlap(each, call) && (!stale || shareName(each, call)));
  };
  let shortest = { initial, history: cut };
  // Where calls have gone there may be a later moment to begin at.
  for (let before = Infinity; shortest.history.length < before;) {
    before = shortest.history.length;
    shortest = latestStart(options, shortest.initial, shortest.history, call, fits);
    const states = shortest.initial;
    const fitsHere = (tried: readonly Call[]) => fits(states, tried);
    const calls = withoutGroups(shortest.history, stays, fitsHere);
    shortest = { initial: states, history: thinned(calls, stays, fitsHere) };
  }
  return { ...shortest, call, possible, isStale: stale };
}

/** Most of a history has nothing to do with it: what only looked, and what went on elsewhere. */
function withoutGroups(
  history: readonly Call[],
  stays: (call: Call) => boolean,
  fits: (calls: readonly Call[]) => boolean,
): readonly Call[] {
  const groups: ((call: Call) => boolean)[] = [
    ({ operation, result }) =>
      LOOKING.has(operation.kind) || typeof result === "string" || (result ?? 0) < 0,
    ...PLACES.map((_, place) => (call: Call) => {
      const places = placesOf(call);
      return places.length > 0 && places.every((other) => other === place);
    }),
    ({ operation }) => "directory" in operation,
    ({ operation }) => "handle" in operation,
  ];
  let calls = history;
  for (const isOf of groups) {
    const tried = calls.filter((call) => stays(call) || !isOf(call));
    if (tried.length < calls.length && fits(tried)) calls = tried;
  }
  return calls;
}

/** Without whatever can be left out: large pieces first, then one by one until nothing more can go. */
function thinned(
  history: readonly Call[],
  stays: (call: Call) => boolean,
  fits: (calls: readonly Call[]) => boolean,
): readonly Call[] {
  let calls = history;
  for (let size = Math.ceil(calls.length / 2);;) {
    const before = calls.length;
    for (let at = calls.length - size; at > -size; at -= size) {
      const [from, to] = [Math.max(0, at), at + size];
      const tried = calls.filter((each, i) => i < from || i >= to || stays(each));
      if (tried.length < calls.length && fits(tried)) calls = tried;
    }
    if (size > 1) size = Math.ceil(size / 2);
    else if (calls.length === before) return calls;
  }
}

function overlap(a: Call, b: Call): boolean {
  return a.invoked < b.returned && b.invoked < a.returned;
}

function shareName(a: Call, b: Call): boolean {
  return placesOf(a).some((place) => placesOf(b).includes(place));
}

function placesOf({ operation }: Call): number[] {
  return [
    ...("place" in operation ? [operation.place] : []),
    ...("target" in operation ? [operation.target] : []),
  ];
}

/** What had been called when `call` returned. What returned later has not, for us. */
function upTo(history: readonly Call[], call: Call): Call[] {
  return history.filter((each) => each.invoked < call.returned)
    .sort((a, b) => a.invoked - b.invoked)
    .map((each) => each.returned > call.returned ? { ...each, returned: Infinity } : each);
}

/** Whether the call can be explained if it might have happened at any time since the beginning. */
function wouldHaveBeenRight(
  options: ModelOptions,
  initial: readonly State[],
  history: readonly Call[],
  call: Call,
): boolean {
  const early = { ...call, invoked: Math.min(...history.map((each) => each.invoked)) - 0.5 };
  const calls = history.map((each) => each === call ? early : each);
  return checkHistory(options, initial, calls).kind === "linearizable";
}

/** A moment with nothing in progress: the states that are possible then, and the index of the call that comes next. */
interface QuietMoment {
  readonly states: readonly State[];
  readonly index: number;
}

/**
 * The last moment with nothing in progress that `fits` as the beginning. What fits somewhere fits everywhere before it: a longer history only has
 * more of what could make a result right.
 */
function latestStart(
  options: ModelOptions,
  initial: readonly State[],
  history: readonly Call[],
  call: Call,
  fits: (states: readonly State[], calls: readonly Call[]) => boolean,
): { readonly initial: readonly State[]; readonly history: readonly Call[] } {
  const moments = quietMoments(options, initial, history, call);
  let [low, high] = [0, moments.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const { states, index } = moments[middle]!;
    if (fits(states, history.slice(index))) low = middle;
    else high = middle - 1;
  }
  const { states, index } = moments[low]!;
  return { initial: states, history: history.slice(index) };
}

/** The moments up to the call of `last` at which all earlier calls have returned. */
function quietMoments(
  options: ModelOptions,
  initial: readonly State[],
  history: readonly Call[],
  last: Call,
): QuietMoment[] {
  const moments: QuietMoment[] = [{ states: initial, index: 0 }];
  let latest = -Infinity;
  for (let i = 0; i < history.length; i++) {
    const call = history[i]!;
    if (i > 0 && latest < call.invoked) {
      const { states, index } = moments.at(-1)!;
      const verdict = checkHistory(options, states, history.slice(index, i));
      if (verdict.kind !== "linearizable") break;
      moments.push({ states: verdict.states, index: i });
    }
    latest = Math.max(latest, call.returned);
    if (call === last) break;
  }
  return moments;
}
