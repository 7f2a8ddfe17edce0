/**
 * From the options of `serve` to the configuration of a daemon: what belongs together is checked, what
 * this version cannot do is refused or warned of.
 *
 * @module
 */

import {
  DAX_WINDOW_SIZE_DEFAULT,
  type Endpoint,
  PASSTHROUGH_DEFAULTS,
  type ServeConfig,
  SHARED_QUEUE_COUNT_MAX,
  VERSION_SLOTS_DEFAULT,
  VERSION_TABLE_DEFAULT,
  type VersionTableConfig,
  type WindowConfig,
} from "../config.ts";
import { SetupError } from "../setup_error.ts";
import { VHOST_USER_PROTOCOL_F } from "../wire/vhost_user.ts";
import { UsageError } from "./exit.ts";
import { budgetConfig } from "./budget_options.ts";
import { identityConfig } from "./identity_options.ts";
import { usageLine } from "./parse.ts";
import { SERVE_TEXT, type ServeOptions } from "./serve_options.ts";

/** The configuration that `options` describe, or a {@linkcode UsageError}. */
export function serveConfig(options: ServeOptions): ServeConfig {
  if (options.sharedDir === undefined || options.sharedDir === "") {
    throw misused("--shared-dir is missing: which directory?");
  }
  const posixAcl = (options.posixAcl ?? "never") !== "never";
  const securityLabel = (options.securityLabel ?? "never") !== "never";
  return {
    endpoint: endpointOf(options),
    keepListening: options.keepListening,
    tag: options.tag ?? null,
    requestQueueCount: options.requestQueues ?? 1,
    pollMicroseconds: options.pollMicroseconds ?? 0,
    rlimitNofile: options.rlimitNofile ?? null,
    window: windowOf(options),
    versions: versionsOf(options),
    stateFile: stateFileOf(options),
    metricsSocket: metricsSocketOf(options),
    passthrough: {
      sharedDir: options.sharedDir,
      cache: options.cache ?? PASSTHROUGH_DEFAULTS.cache,
      timeoutSeconds: options.timeout ?? null,
      negativeTimeoutSeconds: options.negativeTimeout ?? null,
      writeback: options.writeback,
      allowMmap: options.allowMmap,
      allowDirectIo: options.allowDirectIo,
      readonly: options.readonly,
      xattr: options.xattr || posixAcl || securityLabel || options.xattrmap !== undefined,
      posixAcl,
      securityLabel,
      readdirplus: !options.readdirplus,
      announceSubmounts: options.announceSubmounts ?? PASSTHROUGH_DEFAULTS.announceSubmounts,
      killprivV2: options.killprivV2 ?? PASSTHROUGH_DEFAULTS.killprivV2,
      posixLocks: options.posixLock,
      flockLocks: options.flock,
      inodeFileHandles: options.inodeFileHandles ?? PASSTHROUGH_DEFAULTS.inodeFileHandles,
      preserveNoatime: options.preserveNoatime,
      dax: options.dax ?? PASSTHROUGH_DEFAULTS.dax,
      ...identityConfig(options, misused),
      budget: budgetConfig(options),
    },
  };
}

/**
 * Refuses what would change the meaning of ids, names or data if it were ignored: a guest would see, and
 * write, something other than the operator asked for.
 */
export function refuseUnsupported(options: ServeOptions): void {
  if (options.daemonize) {
    throw misused(
      "--daemonize is refused: the daemon stays in the foreground, where its launcher can watch it",
    );
  }
  const refused: readonly [string, boolean, string][] = [
    ["--migration-mode", options.migrationMode !== undefined, "there is no live migration"],
    ["--migration-on-error", options.migrationOnError !== undefined, "there is no live migration"],
    ["--migration-verify-handles", options.migrationVerifyHandles, "there is no live migration"],
    ["--migration-confirm-paths", options.migrationConfirmPaths, "there is no live migration"],
  ];
  for (const [name, given, why] of refused) {
    if (given) throw new SetupError(`${name} is not supported by this version: ${why}`);
  }
}

function windowOf(options: ServeOptions): WindowConfig | null {
  if (options.dax === "never") {
    if (options.daxWindow !== undefined) {
      throw misused("--dax never and --dax-window exclude each other");
    }
    return null;
  }
  return {
    size: options.daxWindow ?? DAX_WINDOW_SIZE_DEFAULT,
    protocolBit: Number(options.daxProtocolBit ?? VHOST_USER_PROTOCOL_F.SHMEM),
  };
}

function versionsOf(options: ServeOptions): VersionTableConfig | null {
  if (options.cache !== "shared") {
    const asked = options.versionTable !== undefined
      ? "--version-table"
      : options.versionSlots !== undefined
      ? "--version-slots"
      : options.watchHost
      ? "--watch-host"
      : null;
    if (asked !== null) throw misused(`${asked} needs --cache shared`);
    return null;
  }
  if ((options.requestQueues ?? 1) > SHARED_QUEUE_COUNT_MAX) {
    throw misused(
      `--cache shared goes with ${SHARED_QUEUE_COUNT_MAX} request queues at most, not ${options.requestQueues}`,
    );
  }
  if (options.versionTable === "") throw misused("--version-table is empty: which file?");
  return {
    path: options.versionTable ?? VERSION_TABLE_DEFAULT,
    slotCount: options.versionSlots ?? VERSION_SLOTS_DEFAULT,
    watchHost: options.watchHost,
  };
}

function stateFileOf({ stateFile }: ServeOptions): string | null {
  if (stateFile === "") throw misused("--state-file is empty: which file?");
  return stateFile ?? null;
}

function metricsSocketOf({ metricsSocket }: ServeOptions): string | null {
  if (metricsSocket === "") throw misused("--metrics-socket is empty: which path?");
  return metricsSocket ?? null;
}

function endpointOf(options: ServeOptions): Endpoint {
  const path = options.socketPath ?? options.socket;
  const group = options.socketGroup ?? null;
  if (options.fd !== undefined) {
    if (path !== undefined) throw misused("--fd and --socket-path exclude each other");
    if (group !== null) throw misused("--socket-group needs --socket-path, not --fd");
    return { kind: "fd", fd: options.fd };
  }
  if (path === undefined || path === "") {
    throw misused("--socket-path or --fd is missing: where do front ends connect?");
  }
  return { kind: "path", path, group };
}

function misused(message: string): UsageError {
  return new UsageError(message, usageLine(SERVE_TEXT));
}
