/**
 * How the share is served while it is fuzzed: as options of `serve`, so that the file system in this process and a daemon of its own are
 * configured by the same words.
 *
 * @module
 */

import { rewriteCompatOptions } from "../../src/cli/compat_options.ts";
import { serveConfig } from "../../src/cli/serve_config.ts";
import { parseServeOptions } from "../../src/cli/serve_options.ts";
import type { PassthroughConfig } from "../../src/config.ts";

/** Names of the guest's "security." are kept below "user.guest.", as most of "user."; "trusted." is the host's. */
const XATTR_RULES = [
  ":unsupported:all:system.posix_acl_:system.posix_acl_:",
  ":bad:all:trusted.:trusted.:",
  ":prefix:all:security.:user.guest.:",
  ":ok:all:user.a:user.a:",
  ":bad:client:user.guest.::",
  ":prefix:client:user.:user.guest.:",
  ":bad:all:::",
].join(" ");

/** Options by mode. */
export const MODES: Readonly<Record<string, readonly string[]>> = {
  auto: ["--xattr", "--posix-lock", "--flock"],
  acl: [
    ...["--xattr", "--posix-acl=always", "--security-label=always", "--killpriv-v2"],
    ...["--inode-file-handles=never", "--cache=always", "--writeback", "--allow-direct-io"],
    "--preserve-noatime",
  ],
  shared: ["--cache=shared", "--xattr", "--posix-lock"],
  dax: ["--dax=always", "--xattr", "--inode-file-handles=prefer"],
  readonly: ["--readonly", "--xattr", "--posix-lock", "--flock", "--dax=always"],
  budget: [
    ...["--xattr", "--posix-lock", "--max-inodes=24", "--max-open-files=12", "--max-locks=6"],
    "--max-mappings=4",
  ],
  handles: ["--xattr", "--inode-file-handles=mandatory"],
  locks: ["--posix-lock", "--flock", "--max-locks=40"],
  // tests/fuzz/promises.ts knows the numbers.
  ids: [
    ...["--xattr", "--posix-lock", "--deny-unmapped"],
    ...["--translate-uid=map:0:100000:1000", "--translate-uid=squash-guest:1000:105000:60000"],
    ...["--translate-uid=host:105000:1000:1", "--translate-uid=forbid-guest:65534:1"],
    ...["--translate-gid=map:0:200000:1000", "--translate-gid=squash-guest:1000:205000:60000"],
    ...["--translate-gid=squash-host:205000:1000:10", "--translate-gid=forbid-guest:65534:1"],
  ],
  xattrs: [`--xattrmap=${XATTR_RULES}`, "--killpriv-v2", "--security-label=always"],
};

/** Opcodes that a third of a mode's requests are of: what the mode is about. */
export const FAVOURED: Readonly<Record<string, readonly number[]>> = {
  // GETATTR, SETATTR and all that makes something
  ids: [3, 4, 6, 8, 9, 35, 51],
  // WRITE drops capabilities
  xattrs: [16, 21, 22, 22, 23, 24],
  // OPEN, FLUSH, GETLK, SETLK, SETLKW
  locks: [14, 25, 31, 32, 32, 32, 33],
};

/** The configuration that a mode's options make. */
export function modeConfig(mode: string, sharedDir: string): PassthroughConfig {
  const args = ["--shared-dir", sharedDir, "--socket-path", "unused", ...MODES[mode]!];
  const { args: rewritten, error } = rewriteCompatOptions(args);
  if (error !== null) throw new Error(error);
  return serveConfig(parseServeOptions(rewritten)).passthrough;
}
