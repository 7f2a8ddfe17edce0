import assert from "node:assert/strict";
import fc from "fast-check";
import type { IdRule } from "../../src/config.ts";
import { FORBIDDEN, IdMap, NO_ID, overlap } from "../../src/passthrough/ids/id_map.ts";
import { property } from "../virtqueue/property.ts";

/** What the rules say, looked up one by one. */
function expected(rules: readonly IdRule[], unmapped: "kept" | "forbidden" | number, id: number) {
  if (id === NO_ID) return NO_ID;
  const rule = rules.find(({ first, count }) => id >= first && id < first + count);
  if (rule === undefined) {
    return unmapped === "kept" ? id : unmapped === "forbidden" ? FORBIDDEN : unmapped;
  }
  if (rule.target === null) return FORBIDDEN;
  return rule.squash ? rule.target : rule.target + id - rule.first;
}

/** Intervals that lie one behind another, in any order, up to the last id. */
const someRules = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 3 }),
    count: fc.integer({ min: 0, max: 5 }),
    kind: fc.constantFrom("shift", "squash", "forbid"),
    target: fc.integer({ min: 0, max: 2 ** 32 - 100 }),
  }),
  { maxLength: 12 },
).chain((pieces) => {
  const all = pieces.reduce((sum, { gap, count }) => sum + gap + count, 0);
  return fc.tuple(
    fc.constantFrom(0, 1000, 2 ** 31 - 20, NO_ID - all),
    fc.array(fc.nat(), { minLength: pieces.length, maxLength: pieces.length }),
  ).map(([start, order]) => {
    let at = start;
    const rules = pieces.map(({ gap, count, kind, target }): IdRule => {
      const first = at + gap;
      at = first + count;
      return { first, count, target: kind === "forbid" ? null : target, squash: kind === "squash" };
    });
    return rules.map((rule, i) => ({ rule, key: order[i]! }))
      .sort((a, b) => a.key - b.key).map(({ rule }) => rule);
  });
});

property(
  "IdMap.map() says of every id what its rule says",
  import.meta.url,
  fc.tuple(someRules, fc.constantFrom("kept" as const, "forbidden" as const, 65534)),
  ([rules, unmapped]) => {
    assert.equal(overlap(rules), null);
    const map = new IdMap(rules, unmapped);
    const ids = [0, 1, NO_ID, NO_ID - 1, 2 ** 31, 2 ** 31 - 1];
    for (const { first, count } of rules) {
      for (let id = first - 2; id < first + count + 2; id++) ids.push(Math.max(0, id));
    }
    for (const id of ids.filter((id) => id <= NO_ID)) {
      assert.equal(map.map(id), expected(rules, unmapped, id), `${id}`);
    }
  },
);

const anyRules = fc.array(
  fc.record({
    first: fc.integer({ min: 0, max: 20 }),
    count: fc.integer({ min: 0, max: 4 }),
    target: fc.constant(0),
    squash: fc.constant(false),
  }),
  { maxLength: 5 },
);

property("overlap() finds ids that two rules name", import.meta.url, anyRules, (rules) => {
  const named = rules.flatMap(({ first, count }) =>
    Array.from({ length: count }, (_, i) => first + i)
  );
  const twice = new Set(named).size !== named.length;
  if (twice) assert.notEqual(overlap(rules), null);
  else assert.equal(overlap(rules), null);
});
