/**
 * The options of `serve`: one parser, from which the help is made too. The names and values are Rust
 * virtiofsd's where it has the option.
 *
 * @module
 */

import { group, merge, object } from "@optique/core/constructs";
import { lineBreak, message, text } from "@optique/core/message";
import { flag, negatableFlag, option } from "@optique/core/primitives";
import type { InferValue } from "@optique/core/parser";
import {
  choice,
  float,
  integer,
  string,
  transform,
  type ValueParser,
} from "@optique/core/valueparser";
import { LOG_LEVELS } from "../log.ts";
import { budgetOptions } from "./budget_options.ts";
import { identityOptions } from "./identity_options.ts";
import { isolationOptions } from "./isolation_options.ts";
import { powerOfTwo, windowSize } from "./power_values.ts";
import { anyOf, type CommandText, lastOf, parseCommand } from "./parse.ts";

/** virtio-fs: struct virtio_fs_config has 36 bytes for the tag. */
const TAG_BYTES_MAX = 36;
/** A queue is a Worker; more of them than this serve nobody. */
const REQUEST_QUEUES_MAX = 64;
/** A second of watching an idle queue is more than enough. */
const POLL_MICROSECONDS_MAX = 1_000_000;

/** Words that were spelled differently once. */
function withAlias<T extends string>(
  words: readonly T[],
  alias: string,
  meant: T,
  metavar: Uppercase<string>,
): ValueParser<"sync", T> {
  return transform(choice([...words, alias], { metavar: metavar as "WORD" }), {
    map: (word) => word === alias ? meant : word as T,
    unmap: (word) => word,
  });
}

function tag(): ValueParser<"sync", string> {
  return {
    mode: "sync",
    metavar: "TAG",
    placeholder: "share",
    parse(input) {
      const size = new TextEncoder().encode(input).length;
      if (size > 0 && size <= TAG_BYTES_MAX) return { success: true, value: input };
      return {
        success: false,
        error: message`A tag has 1 to ${text(String(TAG_BYTES_MAX))} bytes, this one ${
          text(String(size))
        }.`,
      };
    },
    format: (value) => value,
  };
}

const negotiation = (): ValueParser<"sync", "never" | "auto" | "always"> =>
  choice(["never", "auto", "always"], { metavar: "WHEN" });

const share = group(
  "Share",
  object({
    sharedDir: lastOf(option("--shared-dir", string({ metavar: "DIR" }), {
      description: message`The directory that guests see.`,
    })),
    tag: lastOf(option("--tag", tag(), {
      description:
        message`The mount tag, for front ends that ask the daemon for it (UML, Cloud Hypervisor's generic device). QEMU's vhost-user-fs device has its own.`,
    })),
    readonly: anyOf(flag("--readonly", {
      description: message`Refuse every change that a guest asks for.`,
    })),
  }),
);

const socket = group(
  "Socket",
  object({
    socketPath: lastOf(option("--socket-path", string({ metavar: "PATH" }), {
      description:
        message`Listen on this socket. A lock in PATH.pid keeps a second daemon away; both files go at the end.`,
    })),
    socket: lastOf(option("--socket", string({ metavar: "PATH" }), {
      description: message`The same (deprecated).`,
    })),
    socketGroup: lastOf(option("--socket-group", string({ metavar: "GROUP" }), {
      description: message`Let this group use the socket: mode 0770 instead of 0700.`,
    })),
    fd: lastOf(option("--fd", integer({ metavar: "N", min: 0, max: 2 ** 31 - 1 }), {
      description: message`Listen on this descriptor, which the launcher opened and keeps.`,
    })),
    keepListening: anyOf(flag("--keep-listening", {
      description:
        message`Wait for the next front end when one leaves; without it the daemon ends then.`,
    })),
  }),
);

const caching = group(
  "Caching",
  object({
    cache: lastOf(
      option(
        "--cache",
        withAlias(
          ["never", "metadata", "auto", "always", "shared"] as const,
          "none",
          "never",
          "MODE",
        ),
        {
          description:
            message`How long guests may trust what they were told: never (or none), metadata, auto (the default: a second), always (a day), shared (until it changes, for guests that read the version table; auto for others).`,
        },
      ),
    ),
    timeout: lastOf(option("--timeout", float({ metavar: "SECONDS", min: 0 }), {
      description: message`Validity of names and attributes, instead of the mode's.`,
    })),
    negativeTimeout: lastOf(option("--negative-timeout", float({ metavar: "SECONDS", min: 0 }), {
      description: message`Validity of "there is no such name", instead of the mode's.`,
    })),
    writeback: anyOf(flag("--writeback", {
      description: message`Guests may keep written data back for a while.`,
    })),
    allowMmap: anyOf(flag("--allow-mmap", {
      description:
        message`Shared mappings with --cache never or metadata; only where nobody else uses the directory.`,
    })),
    allowDirectIo: anyOf(flag("--allow-direct-io", {
      description: message`A guest's O_DIRECT reaches the host's file.`,
    })),
    readdirplus: anyOf(flag("--no-readdirplus", {
      description: message`Never send attributes along with directory entries.`,
    })),
  }),
);

const features = group(
  "What guests get",
  object({
    xattr: anyOf(flag("--xattr", { description: message`Extended attributes.` })),
    posixAcl: lastOf(option("--posix-acl", negotiation(), {
      description:
        message`POSIX access control lists: never (the default), auto, always; alone it means auto. Implies --xattr. A guest that cannot do them is served without, in mode always too.`,
    })),
    securityLabel: lastOf(option("--security-label", negotiation(), {
      description:
        message`Security labels (SELinux) set when a file is created: never (the default), auto, always; alone it means auto. Implies --xattr.`,
    })),
    announceSubmounts: lastOf(negatableFlag({
      positive: "--announce-submounts",
      negative: "--no-announce-submounts",
    }, { description: message`Tell guests which directories are mount points (the default).` })),
    killprivV2: lastOf(negatableFlag({
      positive: "--killpriv-v2",
      negative: "--no-killpriv-v2",
    }, {
      description:
        message`Set-user-id bits are cleared by the daemon and not by the guest (off by default).`,
    })),
    posixLock: anyOf(flag("--posix-lock", {
      description:
        message`fcntl locks are taken on the host and shared by all guests (also -o posix_lock).`,
    })),
    flock: anyOf(flag("--flock", {
      description: message`flock locks are taken on the host and shared (also -o flock).`,
    })),
    preserveNoatime: anyOf(flag("--preserve-noatime", {
      description: message`Pass O_NOATIME on.`,
    })),
  }),
);

const resources = group(
  "Queues and descriptors",
  object({
    requestQueues: lastOf(option(
      "--num-request-queues",
      integer({ metavar: "N", min: 1, max: REQUEST_QUEUES_MAX }),
      { description: message`Request queues offered; each is served by one Worker. Default 1.` },
    )),
    pollMicroseconds: lastOf(option(
      "--poll-us",
      integer({ metavar: "N", min: 0, max: POLL_MICROSECONDS_MAX }),
      {
        description:
          message`Watch an idle queue for this many microseconds before sleeping. Default 0.`,
      },
    )),
    inodeFileHandles: lastOf(option(
      "--inode-file-handles",
      withAlias(["never", "prefer", "mandatory"] as const, "fallback", "prefer", "WHEN"),
      {
        description:
          message`Hold inodes by file handle and not by open descriptor: never, prefer (the default; once called fallback), mandatory.`,
      },
    )),
    stateFile: lastOf(option("--state-file", string({ metavar: "PATH" }), {
      description:
        message`Keep the daemon's state memory in this file, so that "inspect --state-file PATH" can look into it after a crash.`,
    })),
    metricsSocket: lastOf(option("--metrics-socket", string({ metavar: "PATH" }), {
      description:
        message`Serve OpenMetrics over HTTP (GET /metrics) on this UNIX socket, for a scraper; only this user can connect. The socket goes at the end.`,
    })),
    rlimitNofile: lastOf(option("--rlimit-nofile", integer({ metavar: "N", min: 0 }), {
      description:
        message`Descriptors to ask for. Default: 1,000,000 or the system's limit; 0 leaves it as it is.`,
    })),
    threadPoolSize: lastOf(option("--thread-pool-size", integer({ metavar: "N", min: 0 }), {
      description:
        message`Taken and without effect: one Worker serves each queue, see --num-request-queues.`,
    })),
  }),
);

const shared = group(
  "Shared versions (--cache shared)",
  object({
    versionTable: lastOf(option("--version-table", string({ metavar: "PATH" }), {
      description:
        message`The table that all daemons of this host share, in shared memory (default /dev/shm/virtiofsd-ts-versions); PATH.registry lies beside it. The first daemon makes them.`,
    })),
    versionSlots: lastOf(option("--version-slots", powerOfTwo(64, 2 ** 24), {
      description:
        message`Slots of a table that is made, a power of two (default 524288): twice the inodes that guests know at a time. 61 bytes each.`,
    })),
    watchHost: anyOf(flag("--watch-host", {
      description:
        message`Guests see changes that are made on the host itself, too, some milliseconds later.`,
    })),
  }),
);

const dax = group(
  "DAX window",
  object({
    dax: lastOf(option("--dax", choice(["never", "auto", "always"], { metavar: "WHEN" }), {
      description:
        message`Which files guests map into their window, where the front end has one: never; auto (the default): files from 1 MiB to the window's size that are not executable, until their random reads thrash the window; always: all regular files that can be mapped.`,
    })),
    daxWindow: lastOf(option("--dax-window", windowSize(), {
      description:
        message`Size of the window, a power of two (default 512M). A Linux guest spends a 64th of it on page structs.`,
    })),
    daxProtocolBit: lastOf(
      option("--dax-protocol-bit", choice(["22", "21"], { metavar: "BIT" }), {
        description:
          message`The vhost-user protocol feature by which the window is offered: 22 (the default, SHMEM), or 21 for front ends that speak the draft of older rust-vmm.`,
      }),
    ),
  }),
);

const logging = group(
  "Logging",
  object({
    logLevel: lastOf(option("--log-level", choice(LOG_LEVELS, { metavar: "LEVEL" }), {
      description:
        message`off, error, warn, info (the default), debug or trace. Without it, a level in RUST_LOG counts.`,
    })),
    syslog: anyOf(
      flag("--syslog", { description: message`Log to the system log, not to stderr.` }),
    ),
  }),
);

const migration = group(
  "Live migration: not in this version",
  object({
    migrationMode: lastOf(option("--migration-mode", string({ metavar: "MODE" }), {
      description: message`Refused: there is no live migration yet.`,
    })),
    migrationOnError: lastOf(option("--migration-on-error", string({ metavar: "MODE" }), {
      description: message`Refused.`,
    })),
    migrationVerifyHandles: anyOf(flag("--migration-verify-handles", {
      description: message`Refused.`,
    })),
    migrationConfirmPaths: anyOf(flag("--migration-confirm-paths", {
      description: message`Refused.`,
    })),
  }),
);

const compatibility = group(
  "Compatibility",
  object({
    compat: lastOf(option("-o", string({ metavar: "LIST" }), {
      description:
        message`Options as the C virtiofsd took them: -o source=DIR,cache=MODE,xattr,no_xattr,flock,posix_lock,writeback,... A comma in a value is written twice.`,
    })),
    debug: anyOf(flag("-d", { description: message`--log-level debug.` })),
    foreground: anyOf(flag("-f", {
      description: message`No effect: the daemon stays in the foreground.`,
    })),
    daemonize: anyOf(flag("--daemonize", {
      description: message`Refused: launchers watch the process they started.`,
    })),
    printCapabilities: anyOf(flag("--print-capabilities", {
      description: message`Print what launchers ask for, as JSON, and end.`,
    })),
  }),
);

const parser = merge(
  share,
  socket,
  caching,
  features,
  dax,
  shared,
  resources,
  logging,
  identityOptions,
  budgetOptions,
  isolationOptions,
  migration,
  compatibility,
);

/** What was given on the command line; undefined and false where nothing was. */
export type ServeOptions = InferValue<typeof parser>;

/** How `serve` describes itself. */
export const SERVE_TEXT: CommandText = {
  name: "serve",
  synopsis: "--shared-dir DIR (--socket-path PATH | --fd N) [OPTION]...",
  brief:
    message`Serve a directory to virtual machines: a vhost-user back end for a virtio-fs device.`,
  examples:
    message`virtiofsd-ts serve --shared-dir /srv/data --socket-path /run/data.sock${lineBreak()}qemu-system-x86_64 -m 1G ... -object memory-backend-memfd,id=mem,size=1G,share=on \\${lineBreak()}-numa node,memdev=mem -chardev socket,id=c0,path=/run/data.sock \\${lineBreak()}-device vhost-user-fs-pci,chardev=c0,tag=data${lineBreak()}In the guest: mount -t virtiofs data /mnt`,
  footer:
    message`The word serve may be left out: launchers start the program with its options alone.`,
};

/** Parses the arguments of `serve`, which are in today's form already (compat_options.ts). */
export function parseServeOptions(args: readonly string[]): ServeOptions {
  return parseCommand(parser, SERVE_TEXT, args);
}
