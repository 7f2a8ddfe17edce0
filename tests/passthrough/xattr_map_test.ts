import assert from "node:assert/strict";
import fc from "fast-check";
import type { XattrRule } from "../../src/config.ts";
import { parseXattrRules } from "../../src/cli/xattr_rules.ts";
import { HIDDEN, XattrMap } from "../../src/passthrough/xattr_map.ts";
import { property } from "../virtqueue/property.ts";

const EPERM = 1;
const ERANGE = 34;
const EOPNOTSUPP = 95;

/** The rules in words: the host's name of a guest's, or a negative errno. */
function hostName(rules: readonly XattrRule[], name: string): string | number {
  const rule = rules.find(({ client, key }) => client && name.startsWith(key));
  if (rule === undefined || rule.type === "bad") return -EPERM;
  if (rule.type === "unsupported") return -EOPNOTSUPP;
  const host = rule.type === "prefix" ? rule.prepend + name : name;
  return host.length > 255 ? -ERANGE : host;
}

/** And the guest's name of a host's; null if it is not shown. */
function guestName(rules: readonly XattrRule[], name: string): string | null {
  const rule = rules.find(({ server, prepend }) => server && name.startsWith(prepend));
  if (rule?.type === "ok") return name;
  return rule?.type === "prefix" ? name.slice(rule.prepend.length) || null : null;
}

const part = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 3 });
const rules = fc.array(
  fc.record({
    type: fc.constantFrom<XattrRule["type"]>("prefix", "ok", "bad", "unsupported"),
    client: fc.boolean(),
    server: fc.boolean(),
    key: part,
    prepend: part,
  }),
  { maxLength: 6 },
);
const attribute = fc.oneof(
  fc.string({ unit: fc.constantFrom("a", "b", "."), minLength: 1, maxLength: 6 }),
  fc.integer({ min: 250, max: 256 }).map((size) => "a".repeat(size)),
);

property(
  "XattrMap does with any name what the first matching rule says",
  import.meta.url,
  fc.tuple(rules, attribute),
  ([given, name]) => {
    const map = new XattrMap(given);
    assert.equal(map.hostName(name), hostName(given, name));
    const bytes = new TextEncoder().encode(`##${name}\0rest`);
    const lost = map.toGuest(bytes, 2, name.length);
    assert.equal(lost === HIDDEN ? null : name.slice(lost), guestName(given, name));
  },
);

property(
  "a map rule is a bijection: what the guest sets it finds in the list, and nothing of the host's",
  import.meta.url,
  fc.tuple(part, part.filter((text) => text !== ""), attribute.filter((n) => n.length < 200)),
  ([key, prepend, name]) => {
    const map = new XattrMap(parseXattrRules(`:map:${key}:${prepend}:`) as XattrRule[]);
    const host = map.hostName(name);
    if (typeof host === "number") return;
    const bytes = new TextEncoder().encode(host);
    const lost = map.toGuest(bytes, 0, bytes.length);
    // Names outside the key pass as they are, where they do not look like mapped or hidden ones.
    if (name.startsWith(key)) assert.equal(host.slice(lost), name);
    else if (lost !== HIDDEN) assert.ok(host.slice(lost) === name || host.startsWith(prepend));
  },
);
