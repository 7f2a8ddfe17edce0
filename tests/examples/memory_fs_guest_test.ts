/**
 * A real guest mounts the example's file system and works on it: what the contract promises is what Linux
 * expects.
 *
 * Needs User Mode Linux and root. Where they are missing the test is ignored and says why; with
 * `VIRTIOFSD_TS_REQUIRE_GUEST=1` it fails instead.
 *
 * @module
 */
import assert from "node:assert/strict";
import { isGuestRequired, umlObstacle } from "../guest/tools.ts";
import { bootUml } from "../guest/uml.ts";
import { MemoryDaemon, TAG } from "./memory_daemon.ts";

const obstacle = umlObstacle();
if (obstacle !== null) console.log(`memory_fs in a guest: left out, because ${obstacle}`);

/** One check per line: a name, then a shell command that must succeed. The working directory is the mount. */
const CHECKS: readonly (readonly [name: string, command: string])[] = [
  ["first file", `[ "$(cat hello.txt)" = "Hello from memory." ]`],
  ["write and append", `echo one > f && echo two >> f && [ "$(cat f)" = "one\ntwo" ]`],
  ["truncate", `truncate -s 2 f && truncate -s 4 f && [ "$(od -An -tx1 f)" = " 6f 6e 00 00" ]`],
  ["overwrite", `echo longer text > g && echo x > g && [ "$(cat g)" = x ]`],
  ["mkdir -p", `mkdir -p a/b/c && [ -d a/b/c ]`],
  ["rename", `mv f a/b/f && [ ! -e f ] && [ "$(stat -c %s a/b/f)" = 4 ]`],
  ["rename over", `echo new > h && mv h g && [ "$(cat g)" = new ] && [ ! -e h ]`],
  ["rename a directory", `mv a/b a/d && [ -f a/d/f ] && [ -d a/d/c ]`],
  ["symlink", `ln -s a/d/f link && [ "$(readlink link)" = a/d/f ] && [ -s link ]`],
  ["hard link", `ln g g2 && [ "$(stat -c %h g)" = 2 ] && [ g -ef g2 ]`],
  ["chmod and chown", `chmod 640 g && chown 5:7 g && [ "$(stat -c %a:%u:%g g)" = 640:5:7 ]`],
  [
    "times",
    `touch -d 2001-02-03T04:05:06 g && [ "$(stat -c %Y g)" = "$(date -d 2001-02-03T04:05:06 +%s)" ]`,
  ],
  ["FIFO", `mkfifo p && { echo through > p & [ "$(cat p)" = through ]; }`],
  ["16 MiB", `head -c 16777216 /dev/urandom > big && cp big big2 && cmp big big2`],
  [
    "sparse write",
    `dd if=/dev/zero of=holes bs=1 count=1 seek=1000000 2>/dev/null && [ "$(stat -c %s holes)" = 1000001 ]`,
  ],
  [
    "1000 names",
    `mkdir many && (cd many && seq 1000 | xargs touch) && [ "$(ls many | wc -l)" = 1000 ]`,
  ],
  ["remove them", `rm -r many && [ ! -e many ]`],
  ["rmdir refuses", `! rmdir a 2>/dev/null && [ -d a ]`],
  ["open and unlinked", `exec 3> gone && rm gone && echo still >&3 && exec 3>&- && [ ! -e gone ]`],
  [
    "unpack a tree",
    `tar -C /usr/share -cf - common-licenses | tar -xf - && diff -r common-licenses /usr/share/common-licenses`,
  ],
  ["df", `[ "$(stat -f -c %S .)" = 4096 ] && [ "$(stat -f -c %b .)" = 65536 ]`],
  [
    "as somebody else",
    `chmod 700 a && setpriv --reuid 5 --clear-groups ls . >/dev/null && ! setpriv --reuid 5 --clear-groups ls a 2>/dev/null`,
  ],
  [
    "no room",
    `! head -c 300000000 /dev/zero 2>/dev/null > full && [ "$(stat -c %s full)" -gt 100000000 ] && rm full`,
  ],
  [
    "remount",
    `cd / && umount $GUEST/m && mount -t virtiofs ${TAG} $GUEST/m && cd $GUEST/m && cmp big big2 && [ -f a/d/f ]`,
  ],
];

const SCRIPT = `
check() { if eval "$2"; then echo "check: $1: ok"; else echo "check: $1: FAILED"; fi; }
mkdir $GUEST/m
if mount -t virtiofs ${TAG} $GUEST/m && cd $GUEST/m; then
${
  CHECKS.map(([name, command]) => `check '${name}' '${command.replaceAll("'", `'\\''`)}'`).join(
    "\n",
  )
}
  cd / && umount $GUEST/m && echo "check: unmount: ok"
else
  echo "check: mount: FAILED"
fi
`;

Deno.test({
  name: "guest: mounts the example's file system and works on it",
  ignore: obstacle !== null && !isGuestRequired,
  // The guest and the daemon are other processes.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async (t) => {
    assert.equal(obstacle, null, `the guest suite is required, but ${obstacle}`);
    const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-memory-" });
    Deno.chmodSync(workDir, 0o755);
    try {
      await using daemon = await MemoryDaemon.start(workDir);
      const { console, isHalted, problem } = await bootUml({
        workDir,
        sockets: [daemon.socketPath],
        memoryMiB: 512,
        script: SCRIPT,
        timeoutMs: 120_000,
      });
      const context = () => `\n${console}\n${daemon.process.output}`;
      for (const name of [...CHECKS.map(([name]) => name), "unmount"]) {
        await t.step(name, () => {
          assert.match(console, new RegExp(`^check: ${name}: ok\\r?$`, "m"), context());
        });
      }
      assert.equal(problem, null, context());
      assert.ok(isHalted, `the guest did not power off${context()}`);
      assert.equal(await daemon.terminate(), 0, daemon.process.output);
    } finally {
      Deno.removeSync(workDir, { recursive: true });
    }
  },
});
