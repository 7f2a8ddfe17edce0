/**
 * The work of a QEMU guest: a busybox script with several processes at once, and the host's look at the result.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

const JOBS = 4;
const CREATES = 200;
const PREPARED = 5000;

/** What the host puts into the shared directory first. */
export function prepareQemuShare(dir: string): void {
  Deno.mkdirSync(`${dir}/prepared`);
  for (let i = 0; i < PREPARED; i++) Deno.writeTextFileSync(`${dir}/prepared/f${i}`, "");
  Deno.writeTextFileSync(`${dir}/from-host`, "hello from the host\n");
}

/** The script; each `check` is one line of the report. */
export const QEMU_SCRIPT = `
cd /mnt
say "info processors $(grep -c ^processor /proc/cpuinfo)"
say "info kernel $(uname -r)"
say "info queue interrupts: $(grep -c 'virtio.*request' /proc/interrupts)"
all() { # all FUNCTION: in ${JOBS} processes, and every one must succeed
  pids=""; for j in $(seq ${JOBS}); do "$1" $j & pids="$pids $!"; done
  result=0; for p in $pids; do wait $p || result=1; done; return $result; }
read_host() { [ "$(cat from-host)" = "hello from the host" ]; }
list() { [ "$(ls -1 prepared | grep -c ^f)" = ${PREPARED} ]; }
list_long() { [ "$(ls -l prepared | grep -c ^-)" = ${PREPARED} ]; }
create_one() { for i in $(seq ${CREATES}); do echo "$1-$i" > "shared/$1-$i" || return 1; done; }
create() { mkdir shared && all create_one && [ "$(ls shared | wc -l)" = $((${JOBS} * ${CREATES})) ]; }
rename_one() { for i in $(seq ${CREATES}); do mv "shared/$1-$i" "moved/$(($i % 3))-$1-$i" || return 1; done; }
rename_storm() { mkdir moved && all rename_one && [ "$(ls moved | wc -l)" = $((${JOBS} * ${CREATES})) ] && [ -z "$(ls shared)" ]; }
exclusive_one() { for i in $(seq 50); do mkdir "excl/$i" 2>/dev/null && echo $i >> "excl-won-$1"; done; touch "excl-won-$1"; }
exclusive() { mkdir excl && all exclusive_one && [ "$(cat excl-won-* | sort -n | uniq | wc -l)" = 50 ] && [ "$(cat excl-won-* | wc -l)" = 50 ]; }
big_one() { dd if=/dev/urandom of="big-$1" bs=1M count=16 2>/dev/null && sha256sum "big-$1" > "sum-$1"; }
big() { all big_one; }
reread() { echo 3 > /proc/sys/vm/drop_caches; cat sum-* | sha256sum -c; }
append_one() { for i in $(seq 100); do echo "$1 $i" >> log || return 1; done; }
append() { all append_one && [ "$(wc -l < log)" = $((${JOBS} * 100)) ]; }
links() { echo x > l0 && for i in $(seq 20); do ln l0 l$i || return 1; done; [ "$(stat -c %h l0)" = 21 ] && ln -s nowhere/at/all s && [ "$(readlink s)" = nowhere/at/all ]; }
modes() { echo x > m && chmod 4751 m && [ "$(stat -c %a m)" = 4751 ] && chown 1001:1002 m && [ "$(stat -c %u:%g m)" = 1001:1002 ]; }
tree() { mkdir -p tree/a/b/c && cp /bin/busybox tree/a/b/c/ && tar cf tree.tar tree && mkdir copy && tar xf tree.tar -C copy && cmp tree/a/b/c/busybox copy/tree/a/b/c/busybox && rm -rf tree; }
unlinked() { ( exec 3<>gone && rm gone && echo kept >&3 && [ "$(stat -L -c %h /proc/self/fd/3)" = 0 ] ); }
check read-host read_host
check list list
check list-long list_long
check create create
check rename-storm rename_storm
check exclusive exclusive
check append append
check links links
check modes modes
check tree tree
check open-unlinked unlinked
check big-files big
check read-back reread
`;

/** The host's look at what the guest left. Throws when something is not as it must be. */
export function verifyQemuShare(dir: string): void {
  const names = (path: string) => [...Deno.readDirSync(`${dir}/${path}`)].map((e) => e.name);
  assert.equal(names("shared").length, 0);
  assert.equal(names("moved").length, JOBS * CREATES);
  for (const name of names("moved")) {
    assert.equal(Deno.readTextFileSync(`${dir}/moved/${name}`), `${name.slice(2)}\n`);
  }
  for (let job = 1; job <= JOBS; job++) {
    const [sum] = Deno.readTextFileSync(`${dir}/sum-${job}`).split(" ");
    const hash = createHash("sha256").update(Deno.readFileSync(`${dir}/big-${job}`)).digest("hex");
    assert.equal(hash, sum);
  }
  const lines = Deno.readTextFileSync(`${dir}/log`).trimEnd().split("\n");
  for (let job = 1; job <= JOBS; job++) {
    const own = lines.filter((line) => line.startsWith(`${job} `));
    assert.deepEqual(own, Array.from({ length: 100 }, (_, i) => `${job} ${i + 1}`));
  }
  const { uid, gid } = Deno.statSync(`${dir}/m`);
  assert.deepEqual([uid, gid], [1001, 1002]);
  assert.equal(Deno.statSync(`${dir}/l0`).nlink, 21);
}
