/**
 * The rules of `--xattrmap`, as Rust virtiofsd and the C one take them:
 *
 *     :TYPE:SCOPE:KEY:PREPEND:   TYPE is prefix, ok, bad or unsupported; SCOPE is client, server or all
 *     :map:KEY:PREPEND:          short for several rules; at most once, and last
 *
 * The first character of a rule, blanks aside, separates its fields; it may be another one in each rule.
 *
 * @module
 */

import { message, text } from "@optique/core/message";
import type { ValueParser } from "@optique/core/valueparser";
import type { XattrRule } from "../config.ts";

const TYPES: ReadonlySet<string> = new Set(["prefix", "ok", "bad", "unsupported"]);
const SCOPES: ReadonlySet<string> = new Set(["client", "server", "all"]);
const BLANK = /\s/;

/** Takes a text apart, field by field, and knows where it is. */
class RuleReader {
  readonly #input: readonly string[];
  #at = 0;

  constructor(input: string) {
    this.#input = [...input];
  }

  /** Where the next character is, counted from 1. */
  get place(): number {
    return this.#at + 1;
  }

  /** The separator of the next rule, or null at the end. */
  separator(): string | null {
    while (this.#at < this.#input.length && BLANK.test(this.#input[this.#at]!)) this.#at++;
    return this.#input[this.#at++] ?? null;
  }

  /** The characters up to the separator, or null if there is none any more. */
  field(separator: string): string | null {
    const end = this.#input.indexOf(separator, this.#at);
    if (end < 0) return null;
    const field = this.#input.slice(this.#at, end).join("");
    this.#at = end + 1;
    return field;
  }
}

/** The rules, or what is wrong with them, and where. */
export function parseXattrRules(input: string): readonly XattrRule[] | string {
  const reader = new RuleReader(input);
  const rules: XattrRule[] = [];
  let mapped = false;
  for (let number = 1;; number++) {
    const separator = reader.separator();
    if (separator === null) break;
    const place = `rule ${number}, at character ${reader.place - 1}`;
    if (mapped) return `${place}: nothing may follow a "map" rule`;
    const unfinished = `${place}: the rule is not finished, "${separator}" is missing at its end`;
    const type = reader.field(separator);
    if (type === null) return unfinished;
    mapped = type === "map";
    if (!mapped && !TYPES.has(type)) {
      return `${place}: "${type}" is none of prefix, ok, bad, unsupported, map`;
    }
    const scope = mapped ? "all" : reader.field(separator);
    if (scope === null) return unfinished;
    if (!SCOPES.has(scope)) return `${place}: "${scope}" is none of client, server, all`;
    const key = reader.field(separator);
    const prepend = key === null ? null : reader.field(separator);
    if (key === null || prepend === null) return unfinished;
    if (mapped) rules.push(...mapRules(key, prepend));
    else rules.push(rule(type as XattrRule["type"], scope, key, prepend));
  }
  return rules.length === 0 ? "there is no rule in it" : rules;
}

/** Everything, or what starts with `key`, lies on the host behind `prepend`, where the guest cannot get at it otherwise. */
function mapRules(key: string, prepend: string): XattrRule[] {
  const prefix = rule("prefix", "all", key, prepend);
  if (key === "") return [prefix, rule("bad", "all", "", "")];
  return [
    prefix,
    rule("bad", "server", "", key),
    rule("bad", "client", prepend, ""),
    rule("ok", "all", "", ""),
  ];
}

function rule(type: XattrRule["type"], scope: string, key: string, prepend: string): XattrRule {
  return { type, client: scope !== "server", server: scope !== "client", key, prepend };
}

/** The value of `--xattrmap`. */
export function xattrRules(): ValueParser<"sync", readonly XattrRule[]> {
  return {
    mode: "sync",
    metavar: "RULES",
    placeholder: [],
    parse(input) {
      const rules = parseXattrRules(input);
      return typeof rules === "string"
        ? { success: false, error: message`--xattrmap: ${text(rules)}.` }
        : { success: true, value: rules };
    },
    format: (rules) => rules.map(formatRule).join(""),
  };
}

function formatRule({ type, client, server, key, prepend }: XattrRule): string {
  const scope = client && server ? "all" : client ? "client" : "server";
  return `:${type}:${scope}:${key}:${prepend}:`;
}
