/**
 * The work of the DAX guests: what the host puts into the shared directory, a script of checks for each boot,
 * and what must be on the host afterwards. Most checks are commands of `qemu_dax_probe.c`.
 *
 * @module
 */
import { TAG } from "./daemon.ts";
import { pattern } from "./qemu_dax_pattern.ts";

const MIB = 1024 * 1024;
const RANGE = 2 * MIB;

/** Around the edges of a page and of a range. */
const SIZES = [1, 4095, 4096, 4097, RANGE - 1, RANGE, RANGE + 1, 5_000_000];
const SOURCES = 6;
/** Seed of the file of four windows; those of the sizes are their places in the list. */
const BIG_SEED = 1000;
const READ_ONLY = { size: RANGE + 4097, seed: 2000 };

/** One boot: how the daemon is started, and what the guest does. */
export interface DaxBoot {
  readonly name: string;
  readonly windowMiB: number;
  readonly daemonFlags: readonly string[];
  readonly requestQueues: number;
  readonly processors: number;
  readonly script: string;
}

/** What the host puts into the shared directory before a boot, compiler aside. */
export function prepareDaxShare(dir: string, boot: DaxBoot): void {
  Deno.chmodSync(dir, 0o755);
  const big = Math.max(boot.windowMiB, 16) * MIB * 4;
  {
    using file = Deno.openSync(`${dir}/four-windows`, { write: true, create: true });
    for (let offset = 0; offset < big; offset += 8 * MIB) {
      file.writeSync(pattern(BIG_SEED, offset, 8 * MIB));
    }
  }
  for (const [seed, size] of SIZES.entries()) {
    Deno.writeFileSync(`${dir}/size-${size}`, pattern(seed, 0, size));
  }
  for (const name of ["read-only", "immutable"]) {
    Deno.writeFileSync(`${dir}/${name}`, pattern(READ_ONLY.seed, 0, READ_ONLY.size));
    Deno.chmodSync(`${dir}/${name}`, 0o444);
  }
  // A program that the host runs cannot be opened for writing by anybody.
  Deno.copyFileSync("/usr/bin/sleep", `${dir}/running`);
  Deno.mkdirSync(`${dir}/source`);
  for (let i = 0; i < SOURCES; i++) {
    const next = i + 1 < SOURCES ? `part_${i + 1}(x * 3 + ${i})` : "x";
    const text = `#include "parts.h"\n#include <string.h>\nint part_${i}(int x) {\n  ` +
      `char text[64]; snprintf(text, sizeof text, "%d", x);\n  ` +
      `return (int)strlen(text) + ${next};\n}\n`;
    Deno.writeTextFileSync(`${dir}/source/part_${i}.c`, text);
  }
  const declarations = Array.from({ length: SOURCES }, (_, i) => `int part_${i}(int x);\n`);
  Deno.writeTextFileSync(
    `${dir}/source/parts.h`,
    `#include <stdio.h>\n#include <stdlib.h>\n${declarations.join("")}`,
  );
  Deno.writeTextFileSync(
    `${dir}/source/main.c`,
    '#include "parts.h"\nint main(void) { printf("%d\\n", part_0(7)); return 0; }\n',
  );
}

/** What the compiled program must print. */
function programOutput(): number {
  const part = (i: number, x: number): number =>
    `${x}`.length + (i + 1 < SOURCES ? part(i + 1, x * 3 + i) : x);
  return part(0, 7);
}

/** Functions that all scripts use. The report goes past what a check writes. */
const FUNCTIONS = `
exec 3>&1
say() { echo "@@$*" >&3; }
now() { cut -d' ' -f1 /proc/uptime; }
since() { awk "BEGIN { printf \\"%.1f\\", $(now) - $1 }"; }
# timed NAME COMMAND...: one line of the report
timed() { name="$1"; shift; begin=$(now)
  if "$@" > /tmp/check.log 2>&1; then say "ok $name ($(since $begin) s)"
  else say "FAIL $name ($(since $begin) s): $(tr '\\n' ' ' < /tmp/check.log)"; failed=1; fi; }
mount_as() { mount -t virtiofs \${1:+-o "$1"} ${TAG} /mnt && cd /mnt; }
unmount() { cd / && umount /mnt; }
has_option() { grep -q "^${TAG} /mnt virtiofs .*$1" /proc/mounts || { cat /proc/mounts; return 1; }; }
same() { [ "$1" = "$2" ] || { echo "$1 is not $2"; return 1; }; }
read_sum() { sha256sum < "$1" | cut -d' ' -f1; }
# sums FILE LABEL: by read(2) twice, through a mapping, and on the host
sums() { begin=$(now); one=$(read_sum $1); two=$(read_sum $1); three=$(probe sum $1); four=$(probe host sum $1)
  if [ "$one" = "$two" ] && [ "$one" = "$three" ] && [ "$one" = "$four" ]
  then say "sum $2/$1 $one read, read again, mapped, on the host ($(since $begin) s)"
  else say "sum $2/$1 DIFFERENT: read $one, again $two, mapped $three, on the host $four"; return 1; fi; }
mapped() { bytes=$(probe host mapped); [ "$bytes" -gt 0 ] || { echo "QEMU has mapped nothing"; return 1; }; }
# QEMU gives memory back some time after it was unmapped: a mount without DAX must not add to it.
nothing_new_mapped() { [ "$(probe host mapped)" -le "$mapped_before" ] || { echo "QEMU has mapped more"; return 1; }; }
# Linux 7.2 warns of pages that are still mapped when it drops them: in invalidate_inode_pages2() after a changed mtime,
# in copy_file_range(), and at the next fault there. Seen by the call traces; no other DAX daemon was there to compare.
KNOWN='dax_disassociate_entry|dax_insert_entry|truncate_folio_batch_exceptionals'
quiet_kernel() { dmesg | grep -E "WARNING:.*($KNOWN)" | while read -r line; do say "info known warning: $line"; done
  ! dmesg | grep -vE "$KNOWN" | grep -E 'BUG:|WARNING:|Oops|blocked for more|segfault|traps:|virtio.*error|fuse.*error'; }
# build COMPILER: its root, where the sources of the mount are built at /source
build() { rm -f source/*.o source/program; mkdir -p $1/source && mount -o bind source $1/source || return 1
  chroot $1 /bin/sh -c 'export PATH=/usr/bin:/bin; cd /source && for f in *.c; do gcc -O1 -c $f || exit 1; done && gcc *.o -o program'
  result=$?; umount $1/source; [ $result = 0 ]; }
# TCG keeps the translation of code in a range when the range comes to mean another file: what is in the window can
# be read and written, but not run reliably, without KVM. So the compiler is in the guest's memory, the work in the window.
runs() { cp source/program $1/program && same "$(chroot $1 /program)" ${programOutput()}; }
compile() { [ -e /tmp/compiler ] || cp -a compiler /tmp/ || return 1
  build /tmp/compiler && runs /tmp/compiler; }
compile_from_mount() { build compiler && runs compiler; }
append_lines() { rm -f lines; for i in $(seq 200); do echo "line $i" >> lines || return 1; done
  same "$(wc -l < lines)" 200 && same "$(read_sum lines)" "$(probe host sum lines)" && same "$(probe sum lines)" "$(read_sum lines)"; }
small_files() { rm -rf small; mkdir small; for i in $(seq 100); do echo "file $i" > small/$i || return 1; done
  for i in $(seq 100); do same "$(cat small/$i)" "file $i" || return 1; done; rm -r small; }
copy_big() { cp four-windows copy && cmp four-windows copy && same "$(probe host sum copy)" "$(probe host sum four-windows)" && rm copy; }
`;

/** A line of a script: one check, named after the mount that it is in. */
function check(mount: string, name: string, command: string): string {
  return `timed ${mount}/${name} ${command}\n`;
}

const contents = (mount: string) =>
  SIZES.map((size, seed) =>
    check(mount, `verify-${size}`, `probe verify size-${size} ${size} ${seed}`)
  )
    .join("");

const sums = (mount: string) =>
  SIZES.map((size) => check(mount, `sums-${size}`, `sums size-${size} ${mount}`)).join("");

const writes = (mount: string) =>
  SIZES.map((size, seed) =>
    check(mount, `write-${size}`, `probe write new-${size} ${size} ${300 + seed}`) +
    check(mount, `map-write-${size}`, `probe map-write new-${size} ${size} ${400 + seed}`)
  ).join("");

/** Changes to files through mappings, on either side. */
const mappings = (mount: string) =>
  check(mount, "append", "probe append appended") +
  check(mount, "append-lines", "append_lines") +
  check(mount, "truncate", "probe truncate truncated") +
  check(mount, "tail", "probe tail tailed") +
  check(mount, "upgrade", "probe upgrade upgraded") +
  check(
    mount,
    "read-only",
    `probe read-only read-only ${READ_ONLY.size} ${READ_ONLY.seed}`,
  ) +
  check(mount, "private", "probe private private") +
  check(mount, "fork", "probe fork forked") +
  check(mount, "copy-range", "probe copy-range copied-from copied-to") +
  check(mount, "punch", "probe punch punched") +
  check(mount, "names", "probe names name-1 name-2") +
  check(mount, "from-window", "probe from-window window-1 window-2") +
  check(mount, "host-shrinks", "probe host-shrinks host-shrunk");

/** What only shared memory gives: each side sees the other's bytes without asking. */
const coherence = (mount: string) =>
  check(mount, "host-writes", "probe host-writes host-written") +
  check(mount, "host-grows", "probe host-grows host-grown");

/** Files that the daemon itself cannot open for writing. */
const unwritable = (mount: string) =>
  check(mount, "running-on-host", "running_on_host") +
  check(mount, "immutable", "immutable");

const UNWRITABLE_FUNCTIONS = `
running_on_host() { probe host run running 600 && same "$(read_sum running)" "$(probe host sum running)" &&
  same "$(probe sum running)" "$(probe host sum running)"; }
immutable() { [ "$(probe host immutable immutable)" = no ] && say "info this file system has no immutable files"
  probe verify immutable ${READ_ONLY.size} ${READ_ONLY.seed}; }
`;

/** Everything that fits no window. */
const large = (mount: string, windowMiB: number) =>
  check(mount, "sums-four-windows", `sums four-windows ${mount}`) +
  check(mount, "random", `probe random four-windows ${BIG_SEED} 300`) +
  check(mount, "parallel", `probe parallel parallel ${windowMiB * MIB * 2}`);

const END = `
timed end/quiet-kernel quiet_kernel
[ -z "$failed" ] || dmesg | tail -n 30 | while read -r line; do say "info dmesg $line"; done`;

function windowCheck(windowMiB: number): string {
  const length = `0x${(windowMiB * MIB).toString(16)}`;
  return `window() { dmesg | grep -i "Cache len: ${length} " || { dmesg | grep -i virtio; return 1; }; }
say "info kernel $(uname -r); $(dmesg | grep -o 'Cache len.*')"
timed boot/window window\n`;
}

/** The whole programme where every regular file is a DAX file. */
function alwaysScript(windowMiB: number): string {
  return FUNCTIONS + windowCheck(windowMiB) +
    check("always", "mount", "mount_as dax=always") +
    check("always", "option", "has_option dax=always") +
    check("always", "attribute", "probe dax size-1 yes") +
    contents("always") +
    check("always", "mapped-by-qemu", "mapped") +
    sums("always") + writes("always") + mappings("always") + coherence("always") +
    large("always", windowMiB) +
    check("always", "small-files", "small_files") +
    check("always", "unmount", "unmount") +
    check("again", "mount", "mount_as dax=always") +
    contents("again") + sums("again") + writes("again") +
    check("again", "unmount", "unmount") +
    END;
}

/** The mode that a guest has by itself: the daemon chooses the files. */
function inodeScript(windowMiB: number): string {
  return FUNCTIONS + UNWRITABLE_FUNCTIONS + windowCheck(windowMiB) +
    check("inode", "mount", "mount_as") +
    check("inode", "attribute-of-a-large-file", "probe dax size-5000000 yes") +
    check("inode", "attribute-of-a-file-larger-than-the-window", "probe dax four-windows no") +
    check("inode", "attribute-of-a-small-file", "probe dax size-1 no") +
    contents("inode") +
    check("inode", "mapped-by-qemu", "mapped") +
    sums("inode") + writes("inode") + mappings("inode") +
    unwritable("inode") +
    check("inode", "sums-four-windows", "sums four-windows inode") +
    check("inode", "compile", "compile") +
    check("inode", "unmount", "unmount") +
    check("again", "mount", "mount_as dax=inode") +
    contents("again") +
    check("again", "unmount", "unmount") +
    // And without, with the same window there.
    "mapped_before=$(probe host mapped)\n" +
    check("never", "mount", "mount_as dax=never") +
    check("never", "attribute", "probe dax four-windows no") +
    contents("never") +
    check("never", "nothing-new-mapped", "nothing_new_mapped") +
    check("never", "unmount", "unmount") +
    // With every file in the window.
    check("always", "mount", "mount_as dax=always") +
    check("always", "compile", "compile") +
    check("always", "unmount", "unmount") +
    END;
}

/** Two request queues at once, and a window that is far too small. */
function queuesScript(windowMiB: number): string {
  return FUNCTIONS + windowCheck(windowMiB) +
    check("inode", "mount", "mount_as") +
    check("inode", "attribute-of-a-small-file", "probe dax size-1 yes") +
    contents("inode") +
    check("inode", "mapped-by-qemu", "mapped") +
    writes("inode") + mappings("inode") + coherence("inode") + large("inode", windowMiB) +
    check("inode", "copy", "copy_big") +
    check("inode", "unmount", "unmount") +
    END;
}

function neverScript(): string {
  return FUNCTIONS + `
refused() { ! mount_as dax=always; }
no_window() { ! dmesg | grep "Cache len"; }
mapped_before=0
` +
    check("none", "window", "no_window") +
    check("none", "refuses-dax-always", "refused") +
    check("none", "mount", "mount_as") +
    check("none", "attribute", "probe dax four-windows no") +
    contents("none") + writes("none") + mappings("none") +
    check("none", "nothing-mapped", "nothing_new_mapped") +
    check("none", "unmount", "unmount") +
    END;
}

/** All boots, in order. */
export const DAX_BOOTS: readonly DaxBoot[] = [
  {
    name: "mounted with dax=always",
    windowMiB: 32,
    daemonFlags: ["--dax", "auto"],
    requestQueues: 1,
    processors: 2,
    script: alwaysScript(32),
  },
  {
    name: "mounted with dax by inode",
    windowMiB: 32,
    daemonFlags: ["--dax", "auto"],
    requestQueues: 1,
    processors: 2,
    script: inodeScript(32),
  },
  {
    name: "two queues, small window",
    windowMiB: 16,
    daemonFlags: ["--dax", "always", "--cache", "always", "--num-request-queues", "2"],
    requestQueues: 2,
    processors: 2,
    script: queuesScript(16),
  },
  {
    name: "no window",
    windowMiB: 0,
    daemonFlags: ["--dax", "never"],
    requestQueues: 1,
    processors: 1,
    script: neverScript(),
  },
];

/** A boot with other work, by hand. */
export function withScript(boot: DaxBoot, script: string): DaxBoot {
  return { ...boot, script: `${FUNCTIONS}${UNWRITABLE_FUNCTIONS}\n${script}\n${END}` };
}
