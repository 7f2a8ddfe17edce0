import { deepEqual, equal, ok } from "node:assert/strict";
import { VersionSlots } from "../../src/coherence/version_slots.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { CHANGE, CHANGES_IN_PROGRESS } from "../../src/wire/shared_versions.ts";

const SLOT = 9;

/** A table whose slot has this value. */
function tableWith(low: number, high = 0): VersionSlots {
  const memory = NativeMemory.allocate(4096);
  memory.u32[SLOT * 2] = low;
  memory.u32[SLOT * 2 + 1] = high;
  return new VersionSlots(memory, 64);
}

function value(slots: VersionSlots): [low: number, high: number] {
  return [slots.low(SLOT), slots.high(SLOT)];
}

Deno.test("VersionSlots: a change is in progress from begin to end, and counts once", () => {
  const slots = tableWith(5 * CHANGE);
  slots.begin(SLOT);
  equal(slots.low(SLOT) & CHANGES_IN_PROGRESS, 1);
  slots.begin(SLOT);
  equal(slots.low(SLOT) & CHANGES_IN_PROGRESS, 2);
  slots.end(SLOT);
  equal(slots.low(SLOT) & CHANGES_IN_PROGRESS, 1);
  slots.end(SLOT);
  deepEqual(value(slots), [7 * CHANGE, 0]);
  slots.count1(SLOT);
  deepEqual(value(slots), [8 * CHANGE, 0]);
});

Deno.test("VersionSlots: as many changes in progress as the field holds", () => {
  const slots = tableWith(0);
  for (let i = 0; i < CHANGES_IN_PROGRESS; i++) slots.begin(SLOT);
  equal(slots.low(SLOT), CHANGES_IN_PROGRESS);
  for (let i = 0; i < CHANGES_IN_PROGRESS; i++) slots.end(SLOT);
  deepEqual(value(slots), [CHANGES_IN_PROGRESS * CHANGE, 0]);
});

Deno.test("VersionSlots: endAll ends what is in progress, unless the slot has changed meanwhile", () => {
  const slots = tableWith(3 * CHANGE + 2);
  equal(slots.endAll(SLOT, 3 * CHANGE + 1), false);
  deepEqual(value(slots), [3 * CHANGE + 2, 0]);
  equal(slots.endAll(SLOT, 3 * CHANGE + 2), true);
  deepEqual(value(slots), [4 * CHANGE, 0]);
});

const LAST = 2 ** 32 - CHANGE;
const AROUND: readonly [string, (slots: VersionSlots) => void, low: number][] = [
  ["begin and end", (slots) => (slots.begin(SLOT), slots.end(SLOT)), LAST],
  ["count1", (slots) => slots.count1(SLOT), LAST],
  ["endAll", (slots) => slots.endAll(SLOT, LAST + 3), LAST + 3],
];
for (const [what, change, low] of AROUND) {
  Deno.test(`VersionSlots: the low word begins again, the high word has been increased: ${what}`, () => {
    const slots = tableWith(low, 41);
    change(slots);
    deepEqual(value(slots), [0, 42]);
    // Far from the end nobody touches the high word.
    slots.count1(SLOT);
    deepEqual(value(slots), [CHANGE, 42]);
  });
}

Deno.test("VersionSlots: no value comes twice while the low word begins again, whoever was under way before", () => {
  // All that can be in progress began before the zone where the high word is increased.
  const begun = CHANGES_IN_PROGRESS - 1;
  const slots = tableWith(0xf0000000 - 2 * CHANGE);
  for (let i = 0; i < begun; i++) slots.begin(SLOT);
  const seen = new Set<number>();
  const note = () => {
    const [low, high] = value(slots);
    // Unique below 2^53: the high word stays below 2^17 here.
    const number = high * 2 ** 32 + low;
    ok(!seen.has(number), `value ${number.toString(16)} comes again`);
    seen.add(number);
  };
  note();
  let ended = 0;
  for (let i = 0; i < 70_000; i++) {
    slots.begin(SLOT);
    note();
    slots.end(SLOT);
    note();
    if (i % 16 === 0 && ended < begun) {
      ended++;
      slots.end(SLOT);
      note();
    }
  }
  while (ended++ < begun) slots.end(SLOT);
  const [low, high] = value(slots);
  ok(low < 0xf0000000 && high > 0, `${low.toString(16)} ${high}`);
  equal(low & CHANGES_IN_PROGRESS, 0);
});
