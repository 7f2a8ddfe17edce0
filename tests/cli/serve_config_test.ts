import assert from "node:assert/strict";
import { rewriteCompatOptions } from "../../src/cli/compat_options.ts";
import { UsageError } from "../../src/cli/exit.ts";
import { isolationOf } from "../../src/cli/isolation_options.ts";
import { refuseUnsupported, serveConfig } from "../../src/cli/serve_config.ts";
import { parseServeOptions } from "../../src/cli/serve_options.ts";
import { PASSTHROUGH_DEFAULTS, type ServeConfig } from "../../src/config.ts";
import { SetupError } from "../../src/setup_error.ts";

function options(...args: string[]) {
  const rewritten = rewriteCompatOptions(args);
  assert.equal(rewritten.error, null);
  return parseServeOptions(rewritten.args);
}

function config(...args: string[]): ServeConfig {
  return serveConfig(options("--shared-dir", "/srv", "--socket-path", "/run/s", ...args));
}

Deno.test("serveConfig() has the documented defaults", () => {
  assert.deepEqual(config(), {
    endpoint: { kind: "path", path: "/run/s", group: null },
    keepListening: false,
    tag: null,
    requestQueueCount: 1,
    pollMicroseconds: 0,
    rlimitNofile: null,
    window: { size: 512 * 1024 ** 2, protocolBit: 22 },
    versions: null,
    stateFile: null,
    metricsSocket: null,
    passthrough: { sharedDir: "/srv", ...PASSTHROUGH_DEFAULTS },
  });
});

Deno.test("serveConfig() takes every option of the file system", () => {
  const { passthrough } = config(
    ...["--cache", "metadata", "--timeout", "2.5", "--negative-timeout=0", "--writeback"],
    ...["--allow-mmap", "--allow-direct-io", "--readonly", "--xattr", "--posix-acl=always"],
    ...["--security-label=auto", "--no-readdirplus", "--no-announce-submounts"],
    ...["--killpriv-v2", "--posix-lock", "--flock", "--inode-file-handles=mandatory"],
    ...["--preserve-noatime", "--dax=always"],
    ...["--translate-uid=map:1000:5000:1", "--translate-gid=forbid-guest:0:2"],
    ...["--translate-uid=squash-host/0/99/3", "--xattrmap=:map::user.virtiofs.:"],
    ...["--max-inodes=1000", "--max-open-files=100", "--max-locks=10", "--max-mappings=1"],
  );
  assert.deepEqual(passthrough, {
    sharedDir: "/srv",
    cache: "metadata",
    timeoutSeconds: 2.5,
    negativeTimeoutSeconds: 0,
    writeback: true,
    allowMmap: true,
    allowDirectIo: true,
    readonly: true,
    xattr: true,
    posixAcl: true,
    securityLabel: true,
    readdirplus: false,
    announceSubmounts: false,
    killprivV2: true,
    posixLocks: true,
    flockLocks: true,
    inodeFileHandles: "mandatory",
    preserveNoatime: true,
    dax: "always",
    ids: {
      guestUids: [{ first: 1000, count: 1, target: 5000, squash: false }],
      guestGids: [{ first: 0, count: 2, target: null, squash: false }],
      hostUids: [
        { first: 5000, count: 1, target: 1000, squash: false },
        { first: 0, count: 3, target: 99, squash: true },
      ],
      hostGids: [],
      denyUnmapped: false,
    },
    xattrRules: [
      { type: "prefix", client: true, server: true, key: "", prepend: "user.virtiofs." },
      { type: "bad", client: true, server: true, key: "", prepend: "" },
    ],
    budget: { inodes: 1000, openFiles: 100, locks: 10, mappings: 1 },
  });
});

Deno.test("serveConfig() takes every option of the daemon", () => {
  const found = config(
    ...["--tag", "data", "--keep-listening", "--num-request-queues", "4", "--poll-us", "50"],
    ...["--rlimit-nofile=0", "--thread-pool-size=8", "--socket-group", "kvm", "-f"],
    ...["--dax-window", "8G", "--dax-protocol-bit", "21"],
    ...["--cache", "shared", "--version-table", "/dev/shm/v", "--version-slots", "1024"],
    ...["--watch-host", "--state-file", "/run/s.state"],
    ...["--metrics-socket", "/run/s.metrics"],
  );
  assert.deepEqual({ ...found, passthrough: null }, {
    endpoint: { kind: "path", path: "/run/s", group: "kvm" },
    keepListening: true,
    tag: "data",
    requestQueueCount: 4,
    pollMicroseconds: 50,
    rlimitNofile: 0,
    window: { size: 8 * 1024 ** 3, protocolBit: 21 },
    versions: { path: "/dev/shm/v", slotCount: 1024, watchHost: true },
    stateFile: "/run/s.state",
    metricsSocket: "/run/s.metrics",
    passthrough: null,
  });
});

Deno.test("serveConfig() has one version table for all daemons of a host", () => {
  assert.deepEqual(config("--cache=shared").versions, {
    path: "/dev/shm/virtiofsd-ts-versions",
    slotCount: 524288,
    watchHost: false,
  });
});

Deno.test("serveConfig() knows the older spellings", () => {
  assert.equal(config("--cache=none").passthrough.cache, "never");
  assert.equal(config("--cache", "none").passthrough.cache, "never");
  assert.equal(config("-o", "cache=none").passthrough.cache, "never");
  assert.equal(config("--inode-file-handles=fallback").passthrough.inodeFileHandles, "prefer");
  assert.deepEqual(serveConfig(options("--shared-dir=/s", "--socket=/r")).endpoint, {
    kind: "path",
    path: "/r",
    group: null,
  });
});

Deno.test("serveConfig() has ACLs and labels imply extended attributes", () => {
  assert.equal(config("--posix-acl").passthrough.xattr, true);
  assert.equal(config("--posix-acl").passthrough.posixAcl, true);
  assert.equal(config("--security-label").passthrough.xattr, true);
  assert.equal(config("--posix-acl=never").passthrough.xattr, false);
  assert.equal(config("--posix-acl=never").passthrough.posixAcl, false);
});

Deno.test("serveConfig() lets the last of several win", () => {
  assert.equal(config("--cache", "auto", "--cache", "never").passthrough.cache, "never");
  assert.equal(config("--cache", "auto", "-o", "cache=always").passthrough.cache, "always");
  assert.equal(config("--xattr", "--xattr").passthrough.xattr, true);
  assert.equal(
    config("--announce-submounts", "--no-announce-submounts").passthrough.announceSubmounts,
    false,
  );
  assert.equal(config("--killpriv-v2", "-o", "no_killpriv_v2").passthrough.killprivV2, false);
});

const MISUSES: readonly (readonly string[])[] = [
  [],
  ["--shared-dir=/s"],
  ["--socket-path=/r"],
  ["--shared-dir=/s", "--fd=3", "--socket-path=/r"],
  ["--shared-dir=/s", "--fd=3", "--socket-group=kvm"],
  ["--shared-dir=/s", "--fd=-1"],
  ["--shared-dir=/s", "--fd=x"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=sometimes"],
  ["--shared-dir=/s", "--socket-path=/r", "--version-table=/dev/shm/v"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=auto", "--version-slots=64"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=always", "--watch-host"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=shared", "--version-table="],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=shared", "--num-request-queues=15"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=shared", "--version-slots=1000"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache=shared", "--version-slots=32"],
  ["--shared-dir=/s", "--socket-path=/r", "--timeout=-1"],
  ["--shared-dir=/s", "--socket-path=/r", "--log-level=loud"],
  ["--shared-dir=/s", "--socket-path=/r", "--sandbox=jail"],
  ["--shared-dir=/s", "--socket-path=/r", "--seccomp=maybe"],
  ["--shared-dir=/s", "--socket-path=/r", "--tag="],
  ["--shared-dir=/s", "--socket-path=/r", `--tag=${"x".repeat(37)}`],
  ["--shared-dir=/s", "--socket-path=/r", `--tag=${"ä".repeat(19)}`],
  ["--shared-dir=/s", "--socket-path=/r", "--num-request-queues=0"],
  ["--shared-dir=/s", "--socket-path=/r", "--xattr=yes"],
  ["--shared-dir=/s", "--socket-path=/r", "--cache"],
  ["--shared-dir=/s", "--socket-path=/r", "--dax=sometimes"],
  ["--shared-dir=/s", "--socket-path=/r", "--dax-window=48M"],
  ["--shared-dir=/s", "--socket-path=/r", "--dax-window=1M"],
  ["--shared-dir=/s", "--socket-path=/r", "--dax=never", "--dax-window=8M"],
  ["--shared-dir=/s", "--socket-path=/r", "surplus"],
];

for (const args of MISUSES) {
  Deno.test(`serveConfig() throws a UsageError for: ${args.join(" ")}`, () => {
    assert.throws(() => serveConfig(options(...args)), UsageError);
  });
}

Deno.test("serveConfig() takes a tag of 36 bytes", () => {
  assert.equal(config(`--tag=${"ä".repeat(18)}`).tag, "ä".repeat(18));
});

Deno.test("serveConfig() offers no window with --dax never", () => {
  assert.equal(config("--dax", "never").window, null);
});

Deno.test("isolationOf() is Rust virtiofsd's where nothing is asked for", () => {
  assert.deepEqual(isolationOf(options(), true), {
    sandbox: "namespace",
    seccomp: "kill",
    capabilities: null,
    uidMap: [],
    gidMap: [],
  });
});

Deno.test("isolationOf() reads maps and capabilities", () => {
  const args = ["--uid-map=:0:100000:65536:", "--uid-map=:65536:1000:1:", "--gid-map=:0:7:1:"];
  const isolation = isolationOf(options(...args, "--modcaps=+sys_admin:-MKNOD"), false);
  assert.deepEqual(isolation.uidMap, [
    { inside: 0, outside: 100000, count: 65536 },
    { inside: 65536, outside: 1000, count: 1 },
  ]);
  assert.deepEqual(isolation.gidMap, [{ inside: 0, outside: 7, count: 1 }]);
  assert.deepEqual(isolation.capabilities, { add: [21], remove: [27] });
});

const MISUSED_ISOLATION: readonly (readonly string[])[] = [
  ["--uid-map=0:1:1"],
  ["--gid-map=:0:1:0:"],
  ["--uid-map=:0:1:1:", "--sandbox=none"],
  ["--modcaps=sys_admin"],
  ["--modcaps=+nothing"],
];

for (const args of MISUSED_ISOLATION) {
  Deno.test(`isolationOf() refuses ${args.join(" ")}`, () => {
    const name = args[0]!.split("=", 1)[0]!;
    assert.throws(
      () => isolationOf(options(...args), false),
      (error) => error instanceof SetupError && error.message.startsWith(`${name} `),
    );
  });
}

Deno.test("isolationOf() has no maps for root", () => {
  assert.throws(() => isolationOf(options("--uid-map=:0:1:1:"), true), SetupError);
});

const REFUSED: readonly string[] = [
  "--migration-mode=find-paths",
  "--migration-on-error=abort",
  "--migration-verify-handles",
  "--migration-confirm-paths",
];

for (const arg of REFUSED) {
  Deno.test(`refuseUnsupported() refuses ${arg}`, () => {
    const name = arg.split("=", 1)[0] ?? "";
    assert.throws(
      () => refuseUnsupported(options(arg)),
      (error) => error instanceof SetupError && error.message.startsWith(`${name} `),
    );
  });
}
