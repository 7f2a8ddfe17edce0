/**
 * Where guest and daemon run while single requests are timed: on one processor.
 *
 * Left to the scheduler, the two sides of a ping-pong share a processor in one run and not in the next; waking an idle virtual processor
 * costs 25 µs on the machine where this was written, sharing one costs 2. The difference is ten times what is to be measured.
 *
 * @module
 */

import {
  affinityOf,
  firstProcessor,
  oneProcessor,
  type ProcessorMask,
  setAffinity,
} from "../sys/affinity.ts";
import { childrenOf } from "../sys/children.ts";

/** Runs `act` with this thread and all threads of a daemon on one processor, and puts them back. False if that is not allowed. */
export function onOneProcessor<T>(pid: number, act: () => T): { result: T; placed: boolean } {
  const own = affinityOf(0);
  if (own === null || pid <= 0) return { result: act(), placed: false };
  const mask = oneProcessor(firstProcessor(own));
  const before: [number, ProcessorMask][] = [];
  let placed = setAffinity(0, mask) === 0;
  before.push([0, own]);
  for (const thread of threadsOf(pid)) {
    const old = affinityOf(thread);
    if (old === null) continue;
    placed = setAffinity(thread, mask) === 0 && placed;
    before.push([thread, old]);
  }
  try {
    return { result: act(), placed };
  } finally {
    for (const [thread, old] of before) setAffinity(thread, old);
  }
}

/** Of the process that was started, and of the one that serves. */
function threadsOf(pid: number): number[] {
  try {
    return [pid, ...childrenOf(pid)].flatMap((process) =>
      Array.from(Deno.readDirSync(`/proc/${process}/task`), ({ name }) => Number(name))
    );
  } catch {
    return [];
  }
}
