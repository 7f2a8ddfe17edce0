/**
 * A real guest of a daemon in its default sandbox, with its default filter: started by root, and by an ordinary user, from the one
 * executable (the checkout need not be his to read).
 *
 * @module
 */

import { equal, match, ok } from "node:assert/strict";
import { compile } from "../../tools/compile.ts";
import { isGuestRequired, umlObstacle } from "../guest/tools.ts";
import { bootUml } from "../guest/uml.ts";
import { TempTree } from "../support/temp_tree.ts";
import { identity, IsolatedDaemon, type IsolatedOptions } from "./isolated_daemon.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const BOOT_TIMEOUT_MS = 240_000;
const NOBODY = 65534;

const obstacle = umlObstacle();
const ignore = obstacle !== null && !isGuestRequired;

/** What the guest does; it ends with a word that only success says. */
const WORK = `
m=$GUEST/m; "$b" mkdir -p $m
"$b" mount -t virtiofs tests $m || echo "guest: cannot mount"
cd $m && set -e
"$b" mkdir -p d/e && echo hello > d/e/f && "$b" ln -s e/f d/link && "$b" cat d/link
"$b" dd if=/dev/zero of=big bs=65536 count=64 2>/dev/null && "$b" sync
i=0; while [ $i -lt 200 ]; do echo $i > d/n$i; i=$((i+1)); done
"$b" mv d/e/f d/renamed && "$b" chmod 640 d/renamed && "$b" truncate -s 3 d/renamed
"$b" ls -l d | "$b" wc -l
"$b" mkfifo fifo && "$b" ln d/renamed hard && "$b" rm d/n7
[ "$("$b" cat hard)" = hel ] && [ ! -e d/n7 ] && echo "guest: all done"
set +e; cd /; "$b" umount $m
`;

async function work(options: IsolatedOptions, uid: number): Promise<void> {
  await using daemon = await IsolatedDaemon.start({ ...options, args: ["--tag", "tests"] });
  for (const thread of daemon.threads()) {
    equal(thread.root, identity(daemon.share));
    equal(thread.seccomp, "2");
  }
  using boot = new TempTree("vfsd-uml-");
  const result = await bootUml({
    workDir: boot.root,
    sockets: [daemon.socketPath],
    script: WORK,
    timeoutMs: BOOT_TIMEOUT_MS,
  });
  match(result.console, /guest: all done/, `${daemon.stderr()}\n${result.console}`);
  ok(result.isHalted);
  equal(Deno.readTextFileSync(`${daemon.share}/hard`), "hel");
  equal(Deno.statSync(`${daemon.share}/big`).uid, uid);
  // Without --keep-listening the daemon ends with its front end.
  equal((await daemon.status).code, 0, daemon.stderr());
}

// Compiling, the guest and the daemon are other processes.
const OPTIONS = { ignore, sanitizeOps: false, sanitizeResources: false };

Deno.test({
  name: "sandbox: a guest works with root's daemon as it is by default",
  ...OPTIONS,
  fn: () => work({}, 0),
});

Deno.test({
  name: "sandbox: a guest works with an ordinary user's daemon as it is by default",
  ...OPTIONS,
  fn: async () => {
    using place = new TempTree("vfsd-exe-");
    const output = place.path("virtiofsd-ts");
    await compile({ entry: `${ROOT}main.ts`, output, config: `${ROOT}deno.json` });
    const through = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
    await work({ program: [output], through }, NOBODY);
  },
});
