/**
 * Several users: whose a new file is, and who is kept out.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must } from "./expect.ts";
import * as libc from "./libc.ts";
import { mustPerl, perl } from "./processes.ts";
import { isDirectIo, kernelAtLeast, type Workload } from "./workload.ts";

const ALICE = { uid: 1001, gid: 1001 };
const BOB = { uid: 1002, gid: 1002, groups: [3000] };

const CREATE_ALL = `
my ($dir, $me) = @ARGV; my $p = "$dir/$me";
sysopen(my $f, "$p-file", O_CREAT|O_EXCL|O_RDWR, 0666) or die "create: $!"; print $f "by $me"; close $f or die;
mkdir("$p-dir", 0777) or die "mkdir: $!"; symlink("target-$me", "$p-link") or die "symlink: $!";
POSIX::mkfifo("$p-fifo", 0644) or die "mkfifo: $!"; link("$p-file", "$p-hard") or die "link: $!";
chmod(0640, "$p-file") == 1 or die "chmod: $!"; utime(1000, 2000, "$p-file") == 1 or die "utime: $!";
`;

function owner(path: string): string {
  const { uid, gid, mode } = must(libc.statx(path), path);
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
}

const OWNERS: Record<string, string> = {
  "file": "640",
  "hard": "640",
  "dir": "755",
  "link": "777",
  "fifo": "644",
};

function checkOwners(dir: string): void {
  for (const [name, { uid, gid }] of [["alice", ALICE], ["bob", BOB]] as const) {
    for (const [kind, mode] of Object.entries(OWNERS)) {
      assert.equal(
        owner(`${dir}/open/${name}-${kind}`),
        `${uid}:${gid} ${mode}`,
        `${name}-${kind}`,
      );
    }
  }
  assert.equal(owner(`${dir}/given`), "1002:3000 644");
  const inSetgid = must(libc.statx(`${dir}/setgid/alice-file`), "statx");
  assert.equal(
    `${inSetgid.uid}:${inSetgid.gid}`,
    "1001:3000",
    "a set-gid directory gives its group",
  );
  const subdirectory = must(libc.statx(`${dir}/setgid/alice-dir`), "statx");
  assert.equal(subdirectory.gid, 3000);
  assert.equal(subdirectory.mode & 0o2000, 0o2000, "and hands the bit on to directories");
}

/** Everything that is created belongs to its creator, on both sides. */
export const owners: Workload = {
  name: "owners",
  core: true,
  async run({ dir }) {
    Deno.mkdirSync(`${dir}/open`);
    Deno.chmodSync(`${dir}/open`, 0o1777);
    Deno.mkdirSync(`${dir}/setgid`);
    Deno.chownSync(`${dir}/setgid`, 0, 3000);
    Deno.chmodSync(`${dir}/setgid`, 0o2777);
    await mustPerl(CREATE_ALL, [`${dir}/open`, "alice"], ALICE);
    await mustPerl(CREATE_ALL, [`${dir}/open`, "bob"], BOB);
    await mustPerl(CREATE_ALL, [`${dir}/setgid`, "alice"], ALICE);
    Deno.writeTextFileSync(`${dir}/given`, "");
    Deno.chownSync(`${dir}/given`, 1002, 3000);
    checkOwners(dir);
    assert.equal(Deno.statSync(`${dir}/open/alice-file`).mtime?.getTime(), 2_000_000);
  },
  verify({ dir }) {
    checkOwners(dir);
    assert.equal(Deno.readTextFileSync(`${dir}/open/bob-file`), "by bob");
    assert.equal(Deno.statSync(`${dir}/open/alice-file`).mtime?.getTime(), 2_000_000);
  },
};

// Each line: a name, then an expression that must fail with the errno named after it.
const DENIED = `
my ($dir) = @ARGV; my @bad;
sub denied { my ($what, $ok, @names) = @_; my $e = $!; my $n = 0 + $e;
  push @bad, "$what: " . ($ok ? "success" : "$e") if $ok || !grep { $n == $_ } @names; }
my ($EPERM, $EACCES) = (1, 13);
denied("create in 0755", sysopen(my $a, "$dir/closed/new", O_CREAT|O_RDWR, 0644), $EACCES);
denied("mkdir in 0755", mkdir("$dir/closed/newdir"), $EACCES);
denied("symlink in 0755", symlink("x", "$dir/closed/newlink"), $EACCES);
denied("unlink in 0755", unlink("$dir/closed/file"), $EACCES);
denied("rename in 0755", rename("$dir/closed/file", "$dir/closed/other"), $EACCES);
denied("write 0644 of root", sysopen(my $b, "$dir/closed/file", O_WRONLY), $EACCES);
denied("truncate of root's", truncate("$dir/closed/file", 0), $EACCES);
denied("read 0600", sysopen(my $c, "$dir/secret", O_RDONLY), $EACCES);
denied("into 0700", scalar(stat("$dir/locked/file")), $EACCES);
denied("list 0711", opendir(my $d, "$dir/unlisted"), $EACCES);
denied("chmod of root's", chmod(0777, "$dir/closed/file"), $EPERM);
denied("chown of own", chown(1002, -1, "$dir/sticky/own"), $EPERM);
denied("chown to foreign group", chown(-1, 4000, "$dir/sticky/own"), $EPERM);
denied("utime of root's", utime(1, 1, "$dir/closed/file"), $EPERM);
denied("unlink in sticky", unlink("$dir/sticky/foreign"), $EPERM, $EACCES);
denied("rename in sticky", rename("$dir/sticky/foreign", "$dir/sticky/mine"), $EPERM, $EACCES);
denied("mknod of a device", POSIX::mknod("$dir/sticky/device", 020666, 259), $EPERM) if POSIX->can("mknod");
stat("$dir/unlisted/known") or push @bad, "stat through 0711: $!";
unlink("$dir/sticky/own") or push @bad, "unlink of own: $!";
die join("\\n", @bad) . "\\n" if @bad;
`;

/** What a user may not do is refused, and nothing of it happens. */
export const denied: Workload = {
  name: "denied",
  core: true,
  async run({ dir }) {
    for (
      const [name, mode] of [["closed", 0o755], ["locked", 0o700], ["unlisted", 0o711]] as const
    ) {
      Deno.mkdirSync(`${dir}/${name}`);
      Deno.chmodSync(`${dir}/${name}`, mode);
    }
    Deno.mkdirSync(`${dir}/sticky`);
    Deno.chmodSync(`${dir}/sticky`, 0o1777);
    for (
      const name of ["closed/file", "locked/file", "unlisted/known", "secret", "sticky/foreign"]
    ) {
      Deno.writeTextFileSync(`${dir}/${name}`, "root's");
      Deno.chmodSync(`${dir}/${name}`, name === "secret" ? 0o600 : 0o644);
    }
    Deno.writeTextFileSync(`${dir}/sticky/own`, "");
    Deno.chownSync(`${dir}/sticky/own`, ALICE.uid, ALICE.gid);
    await mustPerl(DENIED, [dir], ALICE);
  },
  verify({ dir }) {
    const names = (path: string) =>
      [...Deno.readDirSync(`${dir}/${path}`)].map((e) => e.name).sort();
    assert.deepEqual(names("closed"), ["file"]);
    assert.deepEqual(names("sticky"), ["foreign"]);
    assert.equal(Deno.readTextFileSync(`${dir}/closed/file`), "root's");
    assert.equal(owner(`${dir}/closed/file`), "0:0 644");
  },
};

/** A supplementary group opens what is the group's. */
export const groups: Workload = {
  name: "supplementary-groups",
  core: true,
  async run(guest) {
    const { dir } = guest;
    Deno.mkdirSync(`${dir}/team`);
    Deno.chownSync(`${dir}/team`, 0, 3000);
    Deno.chmodSync(`${dir}/team`, 0o770);
    Deno.writeTextFileSync(`${dir}/team/plan`, "plan");
    Deno.chownSync(`${dir}/team/plan`, 0, 3000);
    Deno.chmodSync(`${dir}/team/plan`, 0o660);
    const work =
      `open(my $f, ">>", "$ARGV[0]/plan") or die "append: $!"; print $f " b"; close $f or die;`;
    await mustPerl(work, [`${dir}/team`], BOB);
    assert.notEqual((await perl(work, [`${dir}/team`], ALICE)).code, 0, "others stay out");
    // The guest tells the host the group for creates from 6.3 on (FUSE_CREATE_SUPP_GROUP).
    if (!kernelAtLeast(guest, 6, 3)) return { isCreated: false };
    const create =
      `open(my $f, ">", "$ARGV[0]/new") or die "create: $!"; mkdir "$ARGV[0]/sub" or die "mkdir: $!";`;
    await mustPerl(create, [`${dir}/team`], BOB);
    return { isCreated: true };
  },
  verify({ dir }, { isCreated }) {
    assert.equal(Deno.readTextFileSync(`${dir}/team/plan`), "plan b");
    if (isCreated === true) assert.equal(owner(`${dir}/team/new`), "1002:1002 644");
  },
};

/** A write or chown by another user takes set-uid and set-gid bits away. */
export const privilegeBits: Workload = {
  name: "privilege-bits",
  core: true,
  async run({ dir, configuration, isVirtiofs }) {
    if (!isVirtiofs) return { isWriteChecked: false };
    const make = (name: string) => {
      Deno.writeTextFileSync(`${dir}/${name}`, "program");
      Deno.chmodSync(`${dir}/${name}`, 0o6777);
      assert.equal(must(libc.statx(`${dir}/${name}`), "statx").mode & 0o7777, 0o6777);
    };
    const mode = (name: string) => must(libc.statx(`${dir}/${name}`), "statx").mode & 0o7777;
    // Past the guest's page cache it is the host that must do it, and it is told to by killpriv-v2 only.
    const isWriteChecked = !isDirectIo(configuration) || configuration.killprivV2;
    if (isWriteChecked) {
      make("written");
      await mustPerl(`sysopen(my $f, $ARGV[0], O_WRONLY) or die $!; syswrite($f, "x") or die $!;`, [
        `${dir}/written`,
      ], ALICE);
      assert.equal(mode("written") & 0o6000, 0, "after a write");
      make("truncated");
      await mustPerl(`truncate($ARGV[0], 3) or die $!;`, [`${dir}/truncated`], ALICE);
      assert.equal(mode("truncated") & 0o6000, 0, "after truncate");
    }
    make("chowned");
    Deno.chownSync(`${dir}/chowned`, ALICE.uid, ALICE.gid);
    assert.equal(mode("chowned") & 0o6000, 0, "after chown");
    return { isWriteChecked };
  },
  verify({ dir }, { isWriteChecked }) {
    for (const entry of Deno.readDirSync(dir)) {
      assert.equal(must(libc.statx(`${dir}/${entry.name}`), "statx").mode & 0o6000, 0, entry.name);
    }
    if (isWriteChecked === true) {
      assert.equal(Deno.readTextFileSync(`${dir}/written`), "xrogram");
      assert.equal(Deno.readTextFileSync(`${dir}/truncated`), "pro");
    }
  },
};
