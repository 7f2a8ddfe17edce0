/**
 * Options of `serve` about whose ids and which names mean what on the host, and the configuration they make.
 *
 * @module
 */

import { group, object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { multiple } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { flag, option } from "@optique/core/primitives";
import type { IdTranslation, XattrRule } from "../config.ts";
import { idRule, idTranslation, squashedTo } from "./id_rules.ts";
import { anyOf, lastOf } from "./parse.ts";
import { xattrRules } from "./xattr_rules.ts";

/** The options, for the parser of `serve`. */
export const identityOptions = group(
  "Ids and names on the host",
  object({
    translateUid: multiple(option("--translate-uid", idRule(), {
      description:
        message`Users of the guest and of the host: map:GUEST:HOST:COUNT (both ways), guest:GUEST:HOST:COUNT and host:HOST:GUEST:COUNT (one way), squash-guest:GUEST:HOST:COUNT and squash-host:HOST:GUEST:COUNT (all to one), forbid-guest:GUEST:COUNT (EPERM). May be repeated; ids that no rule names stay as they are. Not with --posix-acl.`,
    })),
    translateGid: multiple(option("--translate-gid", idRule(), {
      description: message`The same for groups.`,
    })),
    squashAll: lastOf(option("--squash-all", squashedTo(), {
      description:
        message`Whatever the guest makes or gives away belongs to this user and group of the host, given as UID:GID: squash-guest rules for all ids. host: and squash-host: rules may be added.`,
    })),
    denyUnmapped: anyOf(flag("--deny-unmapped", {
      description:
        message`Ids that no --translate-uid and --translate-gid rule names: the guest must not use them (EPERM), and sees those of the host as 65534.`,
    })),
    xattrmap: lastOf(option("--xattrmap", xattrRules(), {
      description:
        message`Names of extended attributes on the host: rules :TYPE:SCOPE:KEY:PREPEND: (TYPE prefix, ok, bad or unsupported; SCOPE client, server or all) or :map:KEY:PREPEND:, as :map::user.virtiofs.: for all. Implies --xattr.`,
    })),
  }),
);

/** What was given of them. */
export type IdentityOptions = InferValue<typeof identityOptions>;

/** The part of the file system's configuration that the options are about. `misused` makes an error of its text. */
export function identityConfig(
  options: IdentityOptions,
  misused: (message: string) => Error,
): { ids: IdTranslation | null; xattrRules: readonly XattrRule[] | null } {
  const { translateUid, translateGid, squashAll, denyUnmapped } = options;
  // Ids of a kind without rules would all be denied, or, worse, none: neither is likely meant.
  if (denyUnmapped && (translateUid.length === 0 || translateGid.length === 0)) {
    throw misused("--deny-unmapped needs both --translate-uid and --translate-gid");
  }
  return {
    ids: idTranslation(translateUid, translateGid, squashAll ?? null, denyUnmapped),
    xattrRules: options.xattrmap ?? null,
  };
}
