import { equal } from "node:assert/strict";
import fc from "fast-check";
import { passes, wrap16 } from "../../src/wire/ring_index.ts";
import { property } from "../virtqueue/property.ts";

/** The definition, naively: walk from `before` to `after` and look whether `event` is stepped on. */
function stepsOn(event: number, before: number, after: number): boolean {
  for (let index = before; index !== after; index = (index + 1) % 65536) {
    if (index === event) return true;
  }
  return false;
}

const index = fc.integer({ min: 0, max: 65535 });
/** Batches are short in practice; the corners are where they wrap. */
const nearCorner = fc.oneof(
  index,
  fc.integer({ min: 65530, max: 65535 }),
  fc.integer({ min: 0, max: 5 }),
);

property(
  "virtio 2.7.10: passes() is the walk from before to after",
  import.meta.url,
  fc.tuple(nearCorner, nearCorner, fc.oneof(fc.integer({ min: 0, max: 300 }), index)),
  ([event, before, count]) => {
    const after = (before + count) % 65536;
    equal(passes(event, before, after), stepsOn(event, before, after));
  },
  2000,
);

Deno.test("passes() holds for every event and batch around the wrap", () => {
  for (let before = 65526; before < 65546; before++) {
    for (let count = 0; count < 12; count++) {
      for (let event = 65520; event < 65560; event++) {
        const [e, b, a] = [event % 65536, before % 65536, (before + count) % 65536];
        equal(passes(e, b, a), stepsOn(e, b, a), `event ${e}, from ${b} to ${a}`);
      }
    }
  }
});

property(
  "wrap16() is the remainder, also below zero",
  import.meta.url,
  fc.integer({ min: -70000, max: 140000 }),
  (value) => equal(wrap16(value), ((value % 65536) + 65536) % 65536),
);
