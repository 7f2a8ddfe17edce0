/**
 * The rules of `--translate-uid` and `--translate-gid`, and the value of `--squash-all`.
 *
 *     map:GUEST:HOST:COUNT            guest:GUEST:HOST:COUNT     host:HOST:GUEST:COUNT
 *     squash-guest:GUEST:HOST:COUNT   squash-host:HOST:GUEST:COUNT   forbid-guest:GUEST:COUNT
 *
 * Another sign may stand for the colon, as with Rust virtiofsd.
 *
 * @module
 */

import { message, text } from "@optique/core/message";
import type { ValueParser } from "@optique/core/valueparser";
import type { IdRule, IdTranslation } from "../config.ts";

const ID_END = 2 ** 32;
/** From 0, without the last number, which is no id. */
const ALL_IDS = ID_END - 1;

/** One option: rules for what comes from the guest and for what comes from the host. */
export interface IdRules {
  readonly guest: readonly IdRule[];
  readonly host: readonly IdRule[];
}

/** Whom all of the guest's users and groups are on the host. */
export interface SquashedTo {
  readonly uid: number;
  readonly gid: number;
}

/** How many numbers a rule has, and what it says. */
const TYPES: Readonly<Record<string, { count: number; rules: (...ids: number[]) => IdRules }>> = {
  map: {
    count: 3,
    rules: (guest, host, count) => ({
      guest: [shift(guest!, host!, count!)],
      host: [shift(host!, guest!, count!)],
    }),
  },
  guest: { count: 3, rules: (a, b, n) => ({ guest: [shift(a!, b!, n!)], host: [] }) },
  host: { count: 3, rules: (a, b, n) => ({ guest: [], host: [shift(a!, b!, n!)] }) },
  "squash-guest": { count: 3, rules: (a, b, n) => ({ guest: [squash(a!, b!, n!)], host: [] }) },
  "squash-host": { count: 3, rules: (a, b, n) => ({ guest: [], host: [squash(a!, b!, n!)] }) },
  "forbid-guest": {
    count: 2,
    rules: (first, count) => ({
      guest: [{ first: first!, count: count!, target: null, squash: false }],
      host: [],
    }),
  },
};

function shift(first: number, target: number, count: number): IdRule {
  return { first, count, target, squash: false };
}

function squash(first: number, target: number, count: number): IdRule {
  return { first, count, target, squash: true };
}

/** The rules of one option, or what is wrong with it. */
export function parseIdRule(input: string): IdRules | string {
  const separator = /[^A-Za-z0-9-]/.exec(input)?.[0] ?? ":";
  const [word = "", ...numbers] = input.split(separator);
  const type = Object.hasOwn(TYPES, word) ? TYPES[word] : undefined;
  if (type === undefined) {
    return `"${word}" is none of ${Object.keys(TYPES).join(", ")}`;
  }
  if (numbers.length !== type.count) {
    return `"${word}" takes ${type.count} numbers, not ${numbers.length}`;
  }
  const ids = numbers.map(parseId);
  const wrong = ids.indexOf(null);
  if (wrong >= 0) return `"${numbers[wrong]}" is not a number below 2^32`;
  return type.rules(...ids as number[]);
}

function parseId(digits: string): number | null {
  if (!/^\+?\d+$/.test(digits)) return null;
  const id = Number(digits);
  return id < ID_END ? id : null;
}

/** The value of `--translate-uid` and `--translate-gid`. */
export function idRule(): ValueParser<"sync", IdRules> {
  return {
    mode: "sync",
    metavar: "RULE",
    placeholder: { guest: [], host: [] },
    parse(input) {
      const rules = parseIdRule(input);
      return typeof rules === "string"
        ? { success: false, error: message`${text(input)}: ${text(rules)}.` }
        : { success: true, value: rules };
    },
    format: () => "RULE",
  };
}

/** The value of `--squash-all`. */
export function squashedTo(): ValueParser<"sync", SquashedTo> {
  return {
    mode: "sync",
    metavar: "UID_GID",
    placeholder: { uid: 0, gid: 0 },
    parse(input) {
      const [, uid, gid] = /^(\d+):(\d+)$/.exec(input) ?? [];
      const value = { uid: Number(uid), gid: Number(gid) };
      return value.uid < ALL_IDS && value.gid < ALL_IDS
        ? { success: true, value }
        : { success: false, error: message`Expected UID:GID, as 1000:1000, not ${text(input)}.` };
    },
    format: ({ uid, gid }) => `${uid}:${gid}`,
  };
}

/** All options together; null if there are none. */
export function idTranslation(
  uids: readonly IdRules[],
  gids: readonly IdRules[],
  squashAll: SquashedTo | null,
  denyUnmapped: boolean,
): IdTranslation | null {
  if (uids.length === 0 && gids.length === 0 && squashAll === null) return null;
  const squashUids = squashAll === null ? [] : [squash(0, squashAll.uid, ALL_IDS)];
  const squashGids = squashAll === null ? [] : [squash(0, squashAll.gid, ALL_IDS)];
  return {
    guestUids: [...squashUids, ...uids.flatMap(({ guest }) => guest)],
    guestGids: [...squashGids, ...gids.flatMap(({ guest }) => guest)],
    hostUids: uids.flatMap(({ host }) => host),
    hostGids: gids.flatMap(({ host }) => host),
    denyUnmapped,
  };
}
