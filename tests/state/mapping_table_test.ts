import { deepEqual, equal, notEqual, throws } from "node:assert/strict";
import {
  DAX_HEADER,
  MAPPING_COMING,
  MAPPING_COUNT_MAX,
  MAPPING_FREE,
  MAPPING_GOING,
  MAPPING_LIVE,
  MAPPING_PLANNED,
  STATE_HEADER,
} from "../../src/state/layout.ts";
import { MappingTable } from "../../src/state/mapping_table.ts";
import { randomNumbers, seedOf, STEPS } from "../intervals/random.ts";
import { FreshState } from "./fresh_state.ts";

const SEQUENCE = (STATE_HEADER.DAX + DAX_HEADER.SEQUENCE) >>> 2;

/** What the table is to say of a slot. */
interface Expected {
  readonly start: number;
  readonly end: number;
  readonly nodeid: number;
  readonly fileOffset: number;
  readonly writable: boolean;
  state: number;
}

function seen(table: MappingTable, slot: number): Expected {
  return {
    start: table.start(slot),
    end: table.end(slot),
    nodeid: table.nodeid(slot),
    fileOffset: table.fileOffset(slot),
    writable: table.writable(slot),
    state: table.state(slot),
  };
}

Deno.test("a mapping is found by whatever it overlaps, and by nothing else", () => {
  using state = new FreshState();
  const table = new MappingTable(state.memory);
  equal(table.any(), 0);
  const slot = table.insert(4096, 12288, 7, 2 ** 40, true, MAPPING_LIVE);
  notEqual(slot, 0);
  deepEqual(seen(table, slot), {
    start: 4096,
    end: 12288,
    nodeid: 7,
    fileOffset: 2 ** 40,
    writable: true,
    state: MAPPING_LIVE,
  });
  equal(table.count, 1);
  equal(table.any(), slot);
  for (const [start, end] of [[0, 4097], [8192, 8193], [12287, 99999], [0, 99999]] as const) {
    equal(table.first(start, end), slot, `${start} to ${end}`);
  }
  for (const [start, end] of [[0, 4096], [12288, 16384]] as const) {
    equal(table.first(start, end), 0, `${start} to ${end}`);
  }
  table.remove(slot);
  equal(table.count, 0);
  equal(table.any(), 0);
  equal(table.state(slot), MAPPING_FREE);
});

Deno.test("mappings that overlap are ours to avoid", () => {
  using state = new FreshState();
  const table = new MappingTable(state.memory);
  table.insert(0, 8192, 7, 0, true, MAPPING_LIVE);
  throws(() => table.insert(4096, 12288, 7, 0, true, MAPPING_LIVE));
  throws(() => table.nodeid(MAPPING_COUNT_MAX + 1));
});

Deno.test("planned mappings are taken one after another, each once", () => {
  using state = new FreshState();
  const table = new MappingTable(state.memory);
  equal(table.takePlanned(), 0);
  const slots = [0, 1, 2].map((i) =>
    table.insert(i * 4096, (i + 1) * 4096, 7, 0, true, MAPPING_PLANNED)
  );
  throws(() => table.remove(slots[0]!), "one that is planned is not removed");
  const taken = [];
  for (let slot = table.takePlanned(); slot !== 0; slot = table.takePlanned()) {
    table.setState(slot, MAPPING_COMING);
    taken.push(slot);
  }
  deepEqual(taken.sort(), slots.sort());
  for (const slot of slots) table.remove(slot);
  equal(table.count, 0);
});

Deno.test("what is in flight is seen by all threads", () => {
  using state = new FreshState();
  const one = new MappingTable(state.memory);
  const other = new MappingTable(state.memory);
  const slot = one.insert(0, 8192, 7, 0, false, MAPPING_COMING);
  one.inFlight = slot;
  one.setCut(4096, 8192);
  equal(other.inFlight, slot);
  deepEqual([other.cutStart, other.cutEnd], [4096, 8192]);
  deepEqual(seen(other, slot), seen(one, slot));
});

Deno.test("readers without the mutex see that something has changed", () => {
  using state = new FreshState();
  const table = new MappingTable(state.memory);
  const { i32 } = state.memory;
  let before = i32[SEQUENCE]!;
  const changed = (what: string): void => {
    equal(i32[SEQUENCE]! % 2, 0, `${what}: it is whole again`);
    notEqual(i32[SEQUENCE], before, what);
    before = i32[SEQUENCE]!;
  };
  const slot = table.insert(0, 4096, 7, 0, true, MAPPING_COMING);
  changed("insert");
  table.setState(slot, MAPPING_LIVE);
  changed("setState");
  table.remove(slot);
  changed("remove");
});

Deno.test("a full table says so, and takes more when there is room", () => {
  using state = new FreshState();
  const table = new MappingTable(state.memory);
  for (let i = 0; i < MAPPING_COUNT_MAX; i++) {
    notEqual(table.insert(i * 4096, (i + 1) * 4096, 7, 0, true, MAPPING_LIVE), 0);
  }
  const behind = MAPPING_COUNT_MAX * 4096;
  equal(table.insert(behind, behind + 4096, 7, 0, true, MAPPING_LIVE), 0);
  equal(table.count, MAPPING_COUNT_MAX);
  const slot = table.first(8192, 8193);
  table.remove(slot);
  equal(table.insert(behind, behind + 4096, 7, 0, true, MAPPING_LIVE), slot);
});

Deno.test("random mappings are those of a map", () => {
  const seed = seedOf();
  const random = randomNumbers(seed);
  const replay = `VIRTIOFSD_TS_SEED=${seed} deno test -A tests/state/mapping_table_test.ts`;
  using state = new FreshState();
  // Two threads' views of one table, by turns.
  const tables = [new MappingTable(state.memory), new MappingTable(state.memory)];
  const model = new Map<number, Expected>();
  for (let step = 0; step < STEPS; step++) {
    const table = tables[random(2)]!;
    const start = random(256) * 4096;
    const end = start + (1 + random(16)) * 4096;
    const overlaps = [...model].filter(([, one]) => one.start < end && one.end > start)
      .sort(([, a], [, b]) => a.start - b.start);
    equal(table.first(start, end), overlaps[0]?.[0] ?? 0, `first, step ${step}: ${replay}`);
    if (overlaps.length > 0 && random(2) === 0) {
      for (const [slot] of overlaps) {
        table.remove(slot);
        model.delete(slot);
      }
    } else if (overlaps.length > 0) {
      const [slot, one] = overlaps[random(overlaps.length)]!;
      one.state = one.state === MAPPING_LIVE ? MAPPING_GOING : MAPPING_LIVE;
      table.setState(slot, one.state);
    } else {
      const expected = {
        start,
        end,
        nodeid: 1 + random(100),
        fileOffset: random(2 ** 20) * 4096,
        writable: random(2) === 0,
        state: MAPPING_LIVE,
      };
      const { nodeid, fileOffset, writable } = expected;
      const slot = table.insert(start, end, nodeid, fileOffset, writable, MAPPING_LIVE);
      equal(model.has(slot), false, `a slot in use is given away, step ${step}: ${replay}`);
      model.set(slot, expected);
    }
    equal(table.count, model.size, `count, step ${step}: ${replay}`);
    if (step % 100 !== 0) continue;
    for (const [slot, expected] of model) {
      deepEqual(seen(table, slot), expected, `step ${step}: ${replay}`);
    }
  }
});
