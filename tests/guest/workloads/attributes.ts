/**
 * Attributes: modes, times to the nanosecond, birth time, file systems' sizes, special files.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must } from "./expect.ts";
import * as libc from "./libc.ts";
import { mustPerl } from "./processes.ts";
import { kernelAtLeast, type Workload } from "./workload.ts";

const TIMES = [[1n, 2n], [1_700_000_000_123_456_789n, 1_600_000_000_987_654_321n]] as const;

/**
 * Waits until this machine's clock is past a time stamp by more than the coarse tick that stamps are taken at. With
 * write-back the guest stamps by its own clock, which under load lags behind the host's that stamped the file first.
 */
async function clockPasses(stampNs: bigint): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (BigInt(Date.now()) * 1_000_000n <= stampNs + 20_000_000n) {
    assert.ok(performance.now() < deadline, "the guest's clock is 10 s behind the host's");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** chmod, utimensat, and what time stamps do by themselves. */
export const modesAndTimes: Workload = {
  name: "modes-and-times",
  core: true,
  async run({ dir, isVirtiofs }) {
    const path = `${dir}/f`;
    Deno.writeTextFileSync(path, "x");
    for (const mode of [0o000, 0o644, 0o4755, 0o2755, 0o1777, 0o777]) {
      Deno.chmodSync(path, mode);
      assert.equal(must(libc.statx(path), "statx").mode & 0o7777, mode);
    }
    for (const [access, modify] of TIMES) {
      must(libc.utimens(path, access, modify), "utimensat");
      const found = must(libc.statx(path), "statx");
      // hostfs keeps whole seconds only.
      if (isVirtiofs) assert.deepEqual([found.accessNs, found.modifyNs], [access, modify]);
    }
    Deno.writeTextFileSync(`${dir}/moving`, "");
    const before = must(libc.statx(`${dir}/moving`), "statx");
    await clockPasses(before.modifyNs);
    Deno.writeTextFileSync(`${dir}/moving`, "more");
    const after = must(libc.statx(`${dir}/moving`), "statx");
    if (isVirtiofs) assert.ok(after.modifyNs > before.modifyNs, "a write moves mtime");
    assert.equal(after.size, 4);
  },
  verify({ dir }) {
    const found = must(libc.statx(`${dir}/f`), "statx");
    assert.equal(found.mode & 0o7777, 0o777);
    if (found.modifyNs % 1_000_000_000n !== 0n) {
      assert.deepEqual([found.accessNs, found.modifyNs], [...TIMES[1]]);
    }
  },
};

/** The birth time, which guests ask for from 6.6 on (FUSE_STATX). */
export const birthTime: Workload = {
  name: "birth-time",
  core: true,
  run(guest) {
    if (!guest.isVirtiofs || !kernelAtLeast(guest, 6, 6)) return {};
    Deno.writeTextFileSync(`${guest.dir}/born`, "");
    const { mask, birthNs } = must(
      libc.statx(`${guest.dir}/born`, libc.STATX.BASIC_STATS | libc.STATX.BTIME),
      "statx",
    );
    return { hasBirthTime: (mask & libc.STATX.BTIME) !== 0, birthNs: `${birthNs}` };
  },
  verify({ dir }, { hasBirthTime, birthNs }) {
    if (hasBirthTime === undefined) return;
    const found = must(
      libc.statx(`${dir}/born`, libc.STATX.BASIC_STATS | libc.STATX.BTIME),
      "statx",
    );
    const isKept = (found.mask & libc.STATX.BTIME) !== 0;
    assert.equal(hasBirthTime, isKept, "the guest has a birth time if the host has one");
    if (isKept) assert.equal(birthNs, `${found.birthNs}`);
  },
};

/** statfs tells the host file system's size and limits. */
export const fileSystemSize: Workload = {
  name: "statfs",
  core: true,
  run({ dir, isVirtiofs }) {
    return isVirtiofs ? { ...libc.statvfs(dir) } : {};
  },
  verify({ dir }, facts) {
    if (facts["blocks"] === undefined) return;
    const { fragmentSize, blocks, files, nameMax } = libc.statvfs(dir);
    const bytes = Number(facts["fragmentSize"]) * Number(facts["blocks"]);
    assert.equal(bytes, fragmentSize * blocks);
    assert.deepEqual([facts["files"], facts["nameMax"]], [files, nameMax]);
  },
};

/** FIFOs, sockets and device nodes: made, seen as such, and FIFOs used between guest processes. */
export const specialFiles: Workload = {
  name: "special-files",
  core: true,
  async run({ dir, isVirtiofs }) {
    const path = (name: string) => `${dir}/${name}`;
    must(libc.mknod(path("fifo"), libc.S.IFIFO | 0o640), "mkfifo");
    must(libc.mknod(path("char"), libc.S.IFCHR | 0o600, (1 << 8) | 3), "mknod char 1:3");
    must(libc.mknod(path("block"), libc.S.IFBLK | 0o600, (7 << 8) | 200), "mknod block 7:200");
    if (isVirtiofs) must(libc.mknod(path("sock"), libc.S.IFSOCK | 0o600), "mknod socket");
    must(libc.mknod(path("plain"), 0o100644), "mknod of a plain file");
    const [, received] = await Promise.all([
      mustPerl(`open(my $f, ">", $ARGV[0]) or die $!; print $f "through the fifo"; close $f;`, [
        path("fifo"),
      ]),
      mustPerl(`open(my $f, "<", $ARGV[0]) or die $!; print <$f>;`, [path("fifo")]),
    ]);
    assert.equal(received, "through the fifo");
    // The node's device is the guest's /dev/null, not the host's.
    Deno.writeTextFileSync(path("char"), "into nothing");
    assert.equal(must(libc.statx(path("char")), "statx").size, 0);
    await mustPerl(
      `use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die $!; chdir $ARGV[0] or die $!; bind($s, pack_sockaddr_un("bound")) or die "bind: $!"; listen($s, 1) or die $!; socket(my $c, PF_UNIX, SOCK_STREAM, 0) or die $!; connect($c, pack_sockaddr_un("bound")) or die "connect: $!";`,
      [dir],
    );
    return { isVirtiofs };
  },
  verify({ dir }, { isVirtiofs }) {
    const found = (name: string) => must(libc.statx(`${dir}/${name}`), "statx");
    assert.equal(found("fifo").mode, libc.S.IFIFO | 0o640);
    if (isVirtiofs !== true) return;
    assert.equal(found("char").mode, libc.S.IFCHR | 0o600);
    assert.deepEqual([found("char").deviceMajor, found("char").deviceMinor], [1, 3]);
    assert.equal(found("block").mode, libc.S.IFBLK | 0o600);
    assert.deepEqual([found("block").deviceMajor, found("block").deviceMinor], [7, 200]);
    assert.equal(found("sock").mode & libc.S.IFMT, libc.S.IFSOCK);
    assert.equal(found("bound").mode & libc.S.IFMT, libc.S.IFSOCK);
    assert.equal(found("plain").mode, 0o100644);
  },
};
