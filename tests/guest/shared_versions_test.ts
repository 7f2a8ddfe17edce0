/**
 * A real Linux kernel, which knows nothing of versions, beside two guests that share them, on one directory with a daemon each: what the
 * kernel writes the two see at their next call, and what they write the kernel sees as with cache=auto.
 *
 * Needs what `guest_test.ts` needs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Guest } from "../../src/guest/guest.ts";
import { Daemon, TAG } from "./daemon.ts";
import { isGuestRequired, umlObstacle } from "./tools.ts";
import { bootUml } from "./uml.ts";

const obstacle = umlObstacle();
const ignore = obstacle !== null && !isGuestRequired;
const ROUNDS = 20;
const DEADLINE_MS = 120_000;

/** The kernel's part: counts up whenever its number has been acknowledged. */
const SCRIPT = `
mkdir $GUEST/mount
"$b" mount -t virtiofs ${TAG} $GUEST/mount || echo "init: cannot mount"
i=1
while [ $i -le ${ROUNDS} ]; do
  echo $i > $GUEST/mount/counter
  until [ "$("$b" cat $GUEST/mount/ack 2>/dev/null)" = "$i" ]; do "$b" usleep 20000; done
  echo "round $i"
  i=$((i+1))
done
"$b" umount $GUEST/mount
echo "all rounds"
`;

function textOf(guest: Guest, path: string): string {
  try {
    return guest.readTextFileSync(path);
  } catch {
    return "";
  }
}

function requestsOf(guest: Guest): number {
  return guest.traffic.reduce((sum, { requests }) => sum + requests, 0);
}

/** Each daemon ends with its guest. */
async function withDaemons(
  workDir: string,
  use: (sockets: readonly [string, string, string]) => Promise<void>,
): Promise<void> {
  const sharedDir = `${workDir}/shared`;
  Deno.mkdirSync(sharedDir);
  const flags = ["--cache", "shared", "--version-table", `${workDir}/versions`];
  flags.push("--version-slots", "1024");
  const sockets = [`${workDir}/a`, `${workDir}/b`, `${workDir}/c`] as const;
  await using stack = new AsyncDisposableStack();
  for (const socketPath of sockets) {
    stack.use(await Daemon.start({ socketPath, sharedDir, flags, peer: "ours" }));
  }
  await use(sockets);
}

Deno.test({
  name: "guest: a kernel beside guests that share versions, on one directory",
  ignore,
  sanitizeOps: false,
  sanitizeResources: false,
  sanitizeExit: false,
  fn: async () => {
    assert.equal(obstacle, null, `the guest suite is required, but ${obstacle}`);
    const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-guest-" });
    Deno.chmodSync(workDir, 0o755);
    try {
      await withDaemons(workDir, async ([kernelSocket, ...own]) => {
        let isOver = false;
        const booted = bootUml({
          workDir,
          sockets: [kernelSocket],
          script: SCRIPT,
          timeoutMs: DEADLINE_MS,
        }).finally(() => isOver = true);
        await using writer = await Guest.connect({ socketPath: own[0]!, cache: "shared" });
        await using reader = await Guest.connect({ socketPath: own[1]!, cache: "shared" });
        let polls = 0;
        let requests = 0;
        for (let round = 1; round <= ROUNDS && !isOver; round++) {
          const before = requestsOf(writer);
          while (textOf(writer, "counter").trim() !== `${round}` && !isOver) {
            polls++;
            // The kernel is another process, and its console has to be read.
            await new Promise((resolve) => setTimeout(resolve, 0));
          }
          requests += requestsOf(writer) - before;
          // The kernel waits for the acknowledgement, so nothing changes meanwhile.
          assert.equal(textOf(reader, "counter").trim(), `${round}`);
          writer.writeTextFileSync("ack", `${round}`);
          assert.equal(textOf(reader, "ack"), `${round}`, "the reader's very next call");
        }
        const { console, isHalted, problem } = await booted;
        assert.ok(isHalted && problem === null, `${problem}\n${console}`);
        assert.match(console, /all rounds/);
        // What is polled is opened each time (OPEN, RELEASE), but its name, attributes and data are asked for only when they changed.
        assert.ok(polls > ROUNDS, `${polls} polls`);
        assert.ok(requests <= polls * 3 + ROUNDS * 20, `${requests} requests for ${polls} polls`);
      });
    } finally {
      await new Deno.Command("rm", { args: ["-rf", workDir] }).output();
    }
  },
});
