/**
 * Users and groups of the guest as those of the host and back: `--translate-uid`, `--translate-gid` and the presets
 * made of them. Ids pass in four places, and in no other:
 *
 *  - attributes in replies: `attributes.ts` (GETATTR, STATX, and the entries of everything that finds or makes names)
 *  - new owners: SETATTR
 *  - the caller, as whom inodes are made: `enterCaller()` in `nodes.ts`, its supplementary group included
 *  - POSIX ACLs, which name users and groups: not served together with a translation ({@linkcode checkIds})
 *
 * It changes who owns what, not what the daemon may do: all other requests run as the daemon, as without.
 *
 * @module
 */

import type { IdRule, IdTranslation, PassthroughConfig } from "../../config.ts";
import { SetupError } from "../../setup_error.ts";
import { IdMap, NO_ID, overlap } from "./id_map.ts";

/** Whom the guest sees in place of a host id that `--deny-unmapped` leaves without a meaning: Linux's overflow id ("nobody"). */
const OVERFLOW_ID = 65534;

/** Both kinds of ids in both directions. One per thread. */
export class Translation {
  readonly #hostUids: IdMap;
  readonly #hostGids: IdMap;
  readonly #guestUids: IdMap;
  readonly #guestGids: IdMap;

  constructor(rules: IdTranslation) {
    const fromGuest = rules.denyUnmapped ? "forbidden" : "kept";
    const fromHost = rules.denyUnmapped ? OVERFLOW_ID : "kept";
    this.#hostUids = new IdMap(rules.guestUids, fromGuest);
    this.#hostGids = new IdMap(rules.guestGids, fromGuest);
    this.#guestUids = new IdMap(rules.hostUids, fromHost);
    this.#guestGids = new IdMap(rules.hostGids, fromHost);
  }

  /** The host's user for one of the guest, or FORBIDDEN. */
  hostUid(guestUid: number): number {
    return this.#hostUids.map(guestUid);
  }

  /** The host's group for one of the guest, or FORBIDDEN. */
  hostGid(guestGid: number): number {
    return this.#hostGids.map(guestGid);
  }

  /** The guest's user for one of the host. */
  guestUid(hostUid: number): number {
    return this.#guestUids.map(hostUid);
  }

  /** The guest's group for one of the host. */
  guestGid(hostGid: number): number {
    return this.#guestGids.map(hostGid);
  }
}

/** Throws a {@linkcode SetupError} for rules that contradict each other or the rest of the configuration. */
export function checkIds({ ids, posixAcl }: PassthroughConfig): void {
  if (ids === null) return;
  if (posixAcl) {
    throw new SetupError(
      "--posix-acl and a translation of ids exclude each other: ACLs name users and groups, which are stored as the guest sent them",
    );
  }
  const lists: readonly [string, string, readonly IdRule[]][] = [
    ["--translate-uid", "guest", ids.guestUids],
    ["--translate-uid", "host", ids.hostUids],
    ["--translate-gid", "guest", ids.guestGids],
    ["--translate-gid", "host", ids.hostGids],
  ];
  for (const [option, side, rules] of lists) {
    for (const rule of rules) {
      const targetEnd = (rule.target ?? 0) + (rule.squash ? 1 : rule.count);
      if (rule.first + rule.count > NO_ID || targetEnd > NO_ID) {
        throw new SetupError(`${option}: the ${side} ids ${span(rule)} reach beyond the last id`);
      }
    }
    const doubled = overlap(rules);
    if (doubled !== null) {
      throw new SetupError(
        `${option}: the ${side} ids ${span(doubled)} overlap those of another rule`,
      );
    }
  }
}

function span({ first, count }: IdRule): string {
  return count <= 1 ? String(first) : `${first} to ${first + count - 1}`;
}
