import { deepEqual, equal, match } from "node:assert/strict";
import { Choice } from "../../src/check/coherence/choice.ts";
import { checkHistory } from "../../src/check/coherence/linearizability.ts";
import { advance, begun, DONE } from "../../src/check/coherence/model.ts";
import {
  type Call,
  HANDLE_COUNT,
  operationText,
  type Result,
} from "../../src/check/coherence/operations.ts";
import { violationJson, violationText } from "../../src/check/coherence/report.ts";
import { shrink, type Violation } from "../../src/check/coherence/shrink.ts";
import type { State } from "../../src/check/coherence/state.ts";
import { ENOENT } from "../../src/sys/errno.ts";
import { A, B, call, EMPTY, inTurn, OPTIONS, value } from "./histories.ts";

function shrunk(history: readonly Call[]): Violation {
  const verdict = checkHistory(OPTIONS, [EMPTY], history);
  if (verdict.kind !== "violation") throw new Error("The history can be explained");
  return shrink(OPTIONS, [EMPTY], history, verdict.call);
}

function texts({ history }: Violation): string[] {
  return history.map(({ guest, operation }) => `${guest + 1}: ${operationText(operation)}`);
}

Deno.test("a stale read keeps the write that made it wrong, and begins where it was right", () => {
  const violation = shrunk(inTurn(
    [0, { kind: "create", place: B }],
    [0, { kind: "create", place: A }],
    [1, { kind: "stat", place: B }, "file 644, 1 links, 0 bytes"],
    [0, { kind: "write", place: A, value: value("old") }],
    [1, { kind: "read", place: A }, value("old")],
    [0, { kind: "write", place: B, value: value("other") }],
    [0, { kind: "write", place: A, value: value("new") }],
    [1, { kind: "chmod", place: B, mode: 0o600 }],
    [0, { kind: "stat", place: B }, "file 600, 1 links, 16 bytes"],
    [1, { kind: "read", place: A }, value("old")],
    [1, { kind: "read", place: A }, value("new")],
  ));
  deepEqual(texts(violation), ["1: write(/a, new)", "2: read(/a)"]);
  equal(violation.isStale, true);
  deepEqual(violation.possible, [value("new")]);
  match(violation.initial[0]!.snapshot(), /\/a file 644 old/);
});

Deno.test("what only makes the rest wrong by its absence is not dropped", () => {
  // Without the last create, stat's result would be a violation too, and another one.
  const violation = shrunk(inTurn(
    [0, { kind: "create", place: A }],
    [0, { kind: "chmod", place: A, mode: 0o600 }],
    [0, { kind: "unlink", place: A }],
    [0, { kind: "create", place: A }],
    [1, { kind: "stat", place: A }, "file 600, 1 links, 0 bytes"],
  ));
  deepEqual(texts(violation), ["1: unlink(/a)", "1: create(/a)", "2: stat(/a)"]);
  deepEqual(violation.possible, ["file 644, 1 links, 0 bytes"]);
});

Deno.test("a result that never was right stands with what went on at the same time", () => {
  const violation = shrunk([
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 4], { kind: "write", place: A, value: value("x") }),
    call(0, [5, 8], { kind: "rename", place: A, target: B }),
    call(1, [6, 7], { kind: "readdir", directory: 0 }, "p"),
  ]);
  // Before the file was made, the listing was right: it is as stale as it is torn.
  equal(violation.isStale, true);
  const torn = shrunk([
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 6], { kind: "write", place: A, value: value("x") }),
    call(1, [4, 5], { kind: "read", place: A }, value("y")),
  ]);
  deepEqual(texts(torn), ["1: write(/a, x)", "2: read(/a)"]);
  equal(torn.isStale, false);
});

Deno.test("a violation reads as a table in real-time order, or as JSON", () => {
  const violation = shrunk(inTurn(
    [0, { kind: "create", place: A }],
    [1, { kind: "stat", place: A }, -ENOENT],
  ));
  equal(
    violationText(violation),
    `guest 2: stat(/a) gave ENOENT, which was right before, and is not any more.
At the start: 755; 755
  order  who      operation   result
  1-2    guest 1  create(/a)  0
  3-4    guest 2  stat(/a)    ENOENT  <- can only be file 644, 1 links, 0 bytes`,
  );
  const json = JSON.parse(JSON.stringify(violationJson(violation)));
  deepEqual(json.history.map(({ offending }: { offending: boolean }) => offending), [false, true]);
});

/**
 * What two guests might have recorded of a file system with one copy: each operation overlaps others, and takes effect in the order in which it
 * was called. A guest keeps what it last saw of a place, and answers stat from that if `stale` says so.
 */
function simulated(seed: number, count: number, stale: (index: number) => boolean): Call[] {
  const features = { xattr: true, exchange: true };
  const choices = [0, 1].map((guest) => new Choice(guest, [seed], features));
  const seen = new Map<string, Result>();
  let state: State = EMPTY;
  const history: Call[] = [];
  for (let i = 0; i < count; i++) {
    const guest = i % 2;
    const operation = choices[guest]!.next((handle) => state.handles[handle] !== 0);
    // Two calls at a time: each begins before the one before it has returned.
    const made = call(guest, [2 * i, 2 * i + 3], operation);
    const [result, after] = resultOf(state, made);
    state = after;
    const key = `${guest} ${operationText(operation)}`;
    const isStat = operation.kind === "stat";
    history.push({ ...made, result: isStat && stale(i) ? seen.get(key) ?? result : result });
    if (isStat) seen.set(key, result);
  }
  return history;
}

/** The result of an operation that nothing comes between, and the state after it. */
function resultOf(state: State, made: Call): [Result, State] {
  // What it could return is told on the way to what it did.
  const results: Result[] = [];
  const collect = (from: State, progress: ReturnType<typeof begun>) => {
    advance(OPTIONS, from, progress, (next, further) => {
      if (further.step !== DONE) collect(next, further);
    }, (result) => results.push(result));
  };
  collect(state, begun(made));
  const result = results[0] ?? 0;
  let after = state;
  const follow = (from: State, progress: ReturnType<typeof begun>) => {
    advance(OPTIONS, from, progress, (next, further) => {
      if (further.step === DONE) after = next;
      else follow(next, further);
    });
  };
  follow(state, begun({ ...made, result }));
  return [result, after];
}

Deno.test("random histories of one copy can be explained; stale answers in them cannot, and shrink to few calls", () => {
  const seed = Number(Deno.env.get("VIRTIOFSD_TS_SEED") ?? Date.now() % 2 ** 32);
  const again = `again with VIRTIOFSD_TS_SEED=${seed} deno test -A tests/check/shrink_test.ts`;
  equal(HANDLE_COUNT * 2, EMPTY.handles.length);
  for (let i = 0; i < 20; i++) {
    const right = checkHistory(OPTIONS, [EMPTY], simulated(seed + i, 300, () => false));
    equal(right.kind, "linearizable", `${again}: history ${i}`);
  }
  let found = 0;
  for (let i = 0; i < 8; i++) {
    const history = simulated(seed + i, 150, (index) => index > 50 && index % 3 === 0);
    const verdict = checkHistory(OPTIONS, [EMPTY], history);
    if (verdict.kind !== "violation") continue;
    found++;
    const violation = shrink(OPTIONS, [EMPTY], history, verdict.call);
    equal(violation.history.length < 40, true, again);
    // It is a violation by itself, and as short as it gets.
    const same = shrink(OPTIONS, violation.initial, violation.history, violation.call);
    deepEqual(same.history, violation.history, again);
    deepEqual(same.possible, violation.possible, again);
  }
  equal(found > 2, true, `${again}: ${found} of 8 were found out`);
});
