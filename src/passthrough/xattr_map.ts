/**
 * Names of extended attributes, the guest's and the host's (`--xattrmap`).
 *
 * | type        | a name of the guest, which starts with `key` | a name of the host, which starts with `prepend` |
 * | ----------- | -------------------------------------------- | ----------------------------------------------- |
 * | prefix      | gets `prepend` in front                      | loses `prepend`                                 |
 * | ok          | stays as it is                               | stays as it is                                  |
 * | bad         | is EPERM, to be read ENODATA                 | is not listed                                   |
 * | unsupported | is EOPNOTSUPP                                | is not listed                                   |
 *
 * The first rule of the name's side that matches counts. A name that no rule matches is treated as bad: rules are
 * there to keep names apart.
 *
 * @module
 */

import type { PassthroughConfig, XattrRule } from "../config.ts";
import { SetupError } from "../setup_error.ts";
import { EOPNOTSUPP, EPERM, ERANGE, type Status } from "../sys/errno.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { XATTR_NAME_MAX } from "../wire/linux.ts";

/** linux/xattr.h: XATTR_NAME_CAPS */
const CAPABILITY_NAME = "security.capability";
/** {@linkcode XattrMap.toGuest}: the guest does not see the name. */
export const HIDDEN = -1;

interface Rule {
  readonly type: XattrRule["type"];
  readonly client: boolean;
  readonly server: boolean;
  readonly key: Uint8Array;
  readonly prepend: Uint8Array;
}

/** The rules, over bytes: names are not text. */
export class XattrMap {
  /** The host's name of what is "security.capability" to the guest, if it is another one; else null. */
  readonly capabilityName: Deno.PointerObject | null;
  readonly #rules: readonly Rule[];

  constructor(rules: readonly XattrRule[]) {
    const encoder = new TextEncoder();
    this.#rules = rules.map(({ key, prepend, ...rest }) => ({
      ...rest,
      key: encoder.encode(key),
      prepend: encoder.encode(prepend),
    }));
    const name = this.hostName(CAPABILITY_NAME);
    this.capabilityName = typeof name === "number" || name === CAPABILITY_NAME
      ? null
      : nativeString(name);
  }

  /**
   * Writes the host's name for the guest's name of `size` bytes at `from` of `bytes` to `to` of `out`, with a NUL.
   * Returns its size without that, or a negative errno.
   */
  toHost(bytes: Uint8Array, from: number, size: number, out: Uint8Array, to: number): Status {
    const rules = this.#rules;
    for (let i = 0; i < rules.length; i++) {
      const { type, client, key, prepend } = rules[i]!;
      if (!client || !startsWith(bytes, from, size, key)) continue;
      if (type === "bad") return -EPERM;
      if (type === "unsupported") return -EOPNOTSUPP;
      const added = type === "prefix" ? prepend.length : 0;
      // As setxattr(2) says.
      if (added + size > XATTR_NAME_MAX) return -ERANGE;
      for (let k = 0; k < added; k++) out[to + k] = prepend[k]!;
      for (let k = 0; k < size; k++) out[to + added + k] = bytes[from + k]!;
      out[to + added + size] = 0;
      return added + size;
    }
    return -EPERM;
  }

  /** How many bytes the host's name of `size` bytes at `from` loses in front, or {@linkcode HIDDEN}. */
  toGuest(bytes: Uint8Array, from: number, size: number): number {
    const rules = this.#rules;
    for (let i = 0; i < rules.length; i++) {
      const { type, server, prepend } = rules[i]!;
      if (!server || !startsWith(bytes, from, size, prepend)) continue;
      if (type === "ok") return 0;
      // What has no name left is none.
      return type === "prefix" && size > prepend.length ? prepend.length : HIDDEN;
    }
    return HIDDEN;
  }

  /** The same for text: the host's name, or a negative errno. */
  hostName(guestName: string): string | Status {
    const bytes = new TextEncoder().encode(guestName);
    const out = new Uint8Array(XATTR_NAME_MAX + 1);
    const size = this.toHost(bytes, 0, bytes.length, out, 0);
    return size < 0 ? size : new TextDecoder().decode(out.subarray(0, size));
  }
}

function nativeString(text: string): Deno.PointerObject {
  const memory = NativeMemory.allocate(4096);
  memory.setCString(0, text);
  return memory.pointerAt(0);
}

function startsWith(bytes: Uint8Array, from: number, size: number, prefix: Uint8Array): boolean {
  if (size < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[from + i] !== prefix[i]) return false;
  return true;
}

/** Throws a {@linkcode SetupError} for rules under which POSIX ACLs would be kept where the host does not look for them. */
export function checkXattrRules({ xattrRules, posixAcl }: PassthroughConfig): void {
  if (xattrRules === null || !posixAcl) return;
  const map = new XattrMap(xattrRules);
  for (const name of ["system.posix_acl_access", "system.posix_acl_default"]) {
    const host = map.hostName(name);
    if (host !== name && host !== -EOPNOTSUPP) {
      throw new SetupError(
        `--posix-acl and this --xattrmap exclude each other: the host could not apply ${name}`,
      );
    }
  }
}
