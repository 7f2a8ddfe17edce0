import assert from "node:assert/strict";
import fc from "fast-check";
import { parseXattrRules, xattrRules } from "../../src/cli/xattr_rules.ts";
import type { XattrRule } from "../../src/config.ts";
import { property } from "../virtqueue/property.ts";

function rule(type: XattrRule["type"], scope: string, key: string, prepend: string): XattrRule {
  return { type, client: scope !== "server", server: scope !== "client", key, prepend };
}

const RULES: readonly [string, XattrRule[]][] = [
  [":ok:all:::", [rule("ok", "all", "", "")]],
  [":prefix:client:trusted.:user.v.:", [rule("prefix", "client", "trusted.", "user.v.")]],
  [
    "  /bad/server//security./\n\t:unsupported:all:a:b: ",
    [rule("bad", "server", "", "security."), rule("unsupported", "all", "a", "b")],
  ],
  // Any character may separate, also one that needs two UTF-16 units; other signs then are part of a field.
  ["xokxallxa:bxcx", [rule("ok", "all", "a:b", "c")]],
  ["\u{1f600}ok\u{1f600}all\u{1f600}k\u{1f600}\u{1f600}", [rule("ok", "all", "k", "")]],
  [":map::user.v.:", [rule("prefix", "all", "", "user.v."), rule("bad", "all", "", "")]],
  [
    ":bad:client:user.x.::/map/trusted./user.v./",
    [
      rule("bad", "client", "user.x.", ""),
      rule("prefix", "all", "trusted.", "user.v."),
      rule("bad", "server", "", "trusted."),
      rule("bad", "client", "user.v.", ""),
      rule("ok", "all", "", ""),
    ],
  ],
];

for (const [input, rules] of RULES) {
  Deno.test(`parseXattrRules(${JSON.stringify(input)})`, () => {
    assert.deepEqual(parseXattrRules(input), rules);
  });
}

const FAULTS: readonly [string, RegExp][] = [
  ["", /no rule/],
  ["  \n", /no rule/],
  [":bogus:all:a:b:", /^rule 1, at character 1: "bogus" is none of prefix, ok, bad, unsupp/],
  [":OK:all:a:b:", /"OK" is none of/],
  [": ok :all:a:b:", /" ok " is none of/],
  [":ok:never:a:b:", /"never" is none of client, server, all/],
  [":ok:all::: :ok:all:a:b", /^rule 2, at character 12: the rule is not finished/],
  [":ok:all:a:b:junk", /^rule 2, at character 13: the rule is not finished, "j" is missing/],
  [":", /rule 1.*not finished/],
  [":ok:", /not finished/],
  [":map::user.v.", /not finished/],
  [":map::user.v.::ok:all:::", /^rule 2, at character 15: nothing may follow a "map" rule/],
  [":map:a:b::map:c:d:", /nothing may follow/],
];

for (const [input, message] of FAULTS) {
  Deno.test(`parseXattrRules(${JSON.stringify(input)}) says what is wrong, and where`, () => {
    assert.match(parseXattrRules(input) as string, message);
  });
}

const field = fc.string({ unit: fc.constantFrom("a", "b", ".", "-") });
const anyRule = fc.record({
  type: fc.constantFrom<XattrRule["type"]>("prefix", "ok", "bad", "unsupported"),
  scope: fc.constantFrom("all", "client", "server"),
  key: field,
  prepend: field,
}).map(({ type, scope, key, prepend }) => rule(type, scope, key, prepend));

property(
  "parseXattrRules() reads what the option's value is written as",
  import.meta.url,
  fc.array(anyRule, { minLength: 1 }),
  (rules) => {
    assert.deepEqual(parseXattrRules(xattrRules().format(rules)), rules);
  },
);

property(
  "parseXattrRules() takes or refuses any text",
  import.meta.url,
  fc.string({ unit: fc.constantFrom(":", "/", " ", "ok", "map", "all", "bad", "client", "x") }),
  (input) => {
    const rules = parseXattrRules(input);
    assert.ok(typeof rules === "string" || rules.length > 0);
  },
);
