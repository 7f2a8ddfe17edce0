/** How a daemon of two processes ends: as one of one process does. */

import { deepEqual, equal, match } from "node:assert/strict";
import { Guest } from "../../src/guest/guest.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { isAlive, IsolatedDaemon } from "./isolated_daemon.ts";

const ignore = ignoreWithoutRoot();

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `sandbox: ${name}`, ignore, fn });
}

const SANDBOXES = [
  [],
  ["--sandbox", "chroot"],
  ["--sandbox", "none"],
  ["--sandbox", "none", "--seccomp", "none"],
];

function left(daemon: IsolatedDaemon): string[] {
  return [...Deno.readDirSync(daemon.tree.path("run"))].map(({ name }) => name);
}

for (const args of SANDBOXES) {
  const how = args.join(" ") || "the default";
  const signals = args.length === 0
    ? ["SIGTERM", "SIGINT", "SIGHUP"] as const
    : ["SIGTERM"] as const;
  for (const signal of signals) {
    test(`${signal} ends a daemon in order that has a guest, under ${how}`, async () => {
      await using daemon = await IsolatedDaemon.start({ args });
      const guest = await Guest.connect({ socketPath: daemon.socketPath });
      guest.writeTextFileSync("/f", "content");
      equal(Deno.readTextFileSync(`${daemon.socketPath}.pid`), `${daemon.pid}\n`);
      daemon.signal(signal);
      equal((await daemon.status).code, 0, daemon.stderr());
      match(daemon.stderr(), new RegExp(`Ended by ${signal}`));
      deepEqual(left(daemon), []);
      await guest[Symbol.asyncDispose]();
    });
  }
}

test("a terminal's Ctrl-C, which both processes get, ends the daemon once", async () => {
  await using daemon = await IsolatedDaemon.start();
  const server = daemon.serverPid;
  Deno.kill(server, "SIGINT");
  daemon.signal("SIGINT");
  equal((await daemon.status).code, 0, daemon.stderr());
  equal(daemon.stderr().match(/Ended by SIGINT/g)?.length, 1);
  deepEqual([isAlive(server), left(daemon)], [false, []]);
});

for (const args of SANDBOXES.slice(0, 3)) {
  const how = args.join(" ") || "the default";
  test(`with SIGKILL either process takes the other with it, under ${how}`, async () => {
    {
      await using daemon = await IsolatedDaemon.start({ args });
      await using _guest = await Guest.connect({ socketPath: daemon.socketPath });
      const server = daemon.serverPid;
      daemon.signal("SIGKILL");
      await daemon.status;
      await daemon.until(() => !isAlive(server), "the server has ended");
    }
    await using daemon = await IsolatedDaemon.start({ args });
    await using _guest = await Guest.connect({ socketPath: daemon.socketPath });
    Deno.kill(daemon.serverPid, "SIGKILL");
    equal((await daemon.status).code, 128 + 9);
    match(daemon.stderr(), /ERROR .*serving process was killed by signal 9/);
    deepEqual(left(daemon), []);
  });
}

test("what a daemon that was killed has left behind is taken over by the next one", async () => {
  await using daemon = await IsolatedDaemon.start();
  daemon.signal("SIGKILL");
  await daemon.status;
  deepEqual(left(daemon).sort(), ["s", "s.pid"]);
  const socket = ["--socket-path", daemon.socketPath];
  await using next = await IsolatedDaemon.start({ socket });
  await using guest = await Guest.connect({ socketPath: daemon.socketPath });
  guest.mkdirSync("/d");
  equal(Deno.readTextFileSync(`${daemon.socketPath}.pid`), `${next.pid}\n`);
});

test("a second daemon of the same socket is refused, and says who has it", async () => {
  await using daemon = await IsolatedDaemon.start();
  await using second = await IsolatedDaemon.start({ socket: ["--socket-path", daemon.socketPath] });
  equal((await second.status).code, 1);
  match(second.stderr(), new RegExp(`is in use.*pid ${daemon.pid}`));
  deepEqual(left(daemon).sort(), ["s", "s.pid"]);
});
