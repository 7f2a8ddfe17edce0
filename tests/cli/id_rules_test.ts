import assert from "node:assert/strict";
import { idTranslation, parseIdRule, squashedTo } from "../../src/cli/id_rules.ts";
import type { IdRule } from "../../src/config.ts";

function rule(first: number, target: number | null, count: number, squash = false): IdRule {
  return { first, count, target, squash };
}

const RULES: readonly [string, IdRule[], IdRule[]][] = [
  ["map:1:2:3", [rule(1, 2, 3)], [rule(2, 1, 3)]],
  ["guest:1:2:3", [rule(1, 2, 3)], []],
  ["host:1:2:3", [], [rule(1, 2, 3)]],
  ["squash-guest:0:2:4294967295", [rule(0, 2, 4294967295, true)], []],
  ["squash-host:1:2:3", [], [rule(1, 2, 3, true)]],
  ["forbid-guest:1:3", [rule(1, null, 3)], []],
  // As Rust virtiofsd takes them.
  ["map/1/2/3", [rule(1, 2, 3)], [rule(2, 1, 3)]],
  ["guest 1 +2 3", [rule(1, 2, 3)], []],
  ["map:1:2:0", [rule(1, 2, 0)], [rule(2, 1, 0)]],
];

for (const [input, guest, host] of RULES) {
  Deno.test(`parseIdRule("${input}")`, () => {
    assert.deepEqual(parseIdRule(input), { guest, host });
  });
}

const FAULTS: readonly [string, RegExp][] = [
  ["", /"" is none of map, guest, host, /],
  ["1000", /"1000" is none of/],
  [":1:2:3:", /"" is none of/],
  ["bogus:1:2:3", /"bogus" is none of/],
  ["toString:1:2:3", /none of/],
  ["mapx1x2x3", /none of/],
  ["map:1:2", /"map" takes 3 numbers, not 2/],
  ["map:1:2:3:", /takes 3 numbers, not 4/],
  ["forbid-guest:1", /takes 2 numbers, not 1/],
  ["map:1::3", /"" is not a number/],
  ["map: 1:2:3", /" 1" is not a number/],
  ["map:0x1:2:3", /"0x1" is not a number/],
  ["map:-1:2:3", /"-1" is not a number/],
  ["map:1:2:4294967296", /"4294967296" is not a number below 2\^32/],
  ["map.1:2.3.4", /"1:2" is not a number/],
];

for (const [input, message] of FAULTS) {
  Deno.test(`parseIdRule("${input}") says what is wrong`, () => {
    assert.match(parseIdRule(input) as string, message);
  });
}

Deno.test("idTranslation() adds all options up; without any there is none", () => {
  assert.equal(idTranslation([], [], null, false), null);
  const uids = ["host:5:1000:1", "squash-host:6:7:2"].map((input) => parseIdRule(input));
  assert.deepEqual(idTranslation(uids as never, [], { uid: 5, gid: 6 }, false), {
    guestUids: [rule(0, 5, 4294967295, true)],
    guestGids: [rule(0, 6, 4294967295, true)],
    hostUids: [rule(5, 1000, 1), rule(6, 7, 2, true)],
    hostGids: [],
    denyUnmapped: false,
  });
});

Deno.test("squashedTo() takes two ids", () => {
  const { parse } = squashedTo();
  assert.deepEqual(parse("1000:100"), { success: true, value: { uid: 1000, gid: 100 } });
  for (const input of ["", "1", "1:", "1:2:3", "a:b", "-1:2", "4294967295:0", "0:4294967295"]) {
    assert.equal(parse(input).success, false, input);
  }
});
