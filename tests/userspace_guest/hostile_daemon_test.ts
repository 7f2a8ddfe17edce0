import { equal, match, ok, rejects } from "node:assert/strict";
import { DaemonError, Guest, GuestError } from "../../mod.ts";
import { Subject } from "../../src/cli/subject.ts";

const GARBAGE_DAEMON = new URL("./garbage_daemon.ts", import.meta.url).pathname;

async function garbage(kind: string): Promise<Subject> {
  const command = `${Deno.execPath()} run -A ${GARBAGE_DAEMON} {socket} '${kind}'`;
  return await Subject.open({ kind: "command", command });
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof GuestError) return error.code;
    throw error;
  }
  return "no error";
}

const openFiles = () => [...Deno.readDirSync("/proc/self/fd")].length;

/** One bad reply is one failed request: the next one is asked as if nothing had been. */
for (
  const kind of [
    "short",
    "length",
    "long",
    "unique",
    "positive error",
    "huge error",
    "error with a body",
  ]
) {
  Deno.test(`a daemon whose replies are garbage (${kind}): EIO, each time`, async () => {
    const daemon = await garbage(kind);
    try {
      const guest = await Guest.connect({ socketPath: daemon.socketPath, timeoutMs: 10_000 });
      for (let i = 0; i < 3; i++) {
        equal(codeOf(() => guest.statSync("/x")), "EIO");
        equal(codeOf(() => [...guest.readDirSync("/")]), "EIO");
        equal(codeOf(() => guest.writeTextFileSync("/x", "text")), "EIO");
        equal(codeOf(() => guest.statFsSync()), "EIO");
      }
      await guest.close();
    } finally {
      await daemon.close();
    }
  });
}

Deno.test("a daemon whose replies have random bodies: errors or values, never a crash", async () => {
  const daemon = await garbage("random body");
  try {
    const before = openFiles();
    const guest = await Guest.connect({ socketPath: daemon.socketPath, timeoutMs: 10_000 });
    for (let i = 0; i < 50; i++) {
      for (
        const act of [
          () => guest.statSync("/"),
          () => guest.readTextFileSync("/a/b"),
          () => [...guest.readDirSync("/")],
          () => guest.writeTextFileSync("/x", "text"),
          () => guest.readLinkSync("/x"),
          () => guest.listXattrSync("/"),
        ]
      ) {
        try {
          act();
        } catch (error) {
          ok(error instanceof GuestError, String(error));
        }
      }
    }
    await guest.close().catch((error) => ok(error instanceof GuestError));
    equal(openFiles(), before);
  } finally {
    await daemon.close();
  }
});

/** A ring that says what cannot be is not believed any more: all that is outstanding fails, and all that comes. */
for (const kind of ["wrong descriptor", "twice", "index"]) {
  Deno.test(`a daemon that breaks the ring (${kind}): everything fails with EIO, nothing hangs`, async () => {
    const daemon = await garbage(kind);
    try {
      const before = openFiles();
      const guest = await Guest.connect({ socketPath: daemon.socketPath, timeoutMs: 10_000 });
      // "twice" and "index" answer the first request before the ring breaks.
      codeOf(() => guest.statSync("/x"));
      equal(codeOf(() => guest.statSync("/x")), "EIO");
      equal(codeOf(() => guest.statSync("/y")), "EIO");
      await guest.close();
      equal(openFiles(), before);
    } finally {
      await daemon.close();
    }
  });
}

/** What a daemon says of versions that cannot be: served without caching, with one warning where something is wrong. */
for (
  const [kind, warned] of [
    ["versions without a region", /the device has no region/],
    ["versions, nothing mapped", /has not mapped it/],
    ["versions of another layout", /its layout is 2/],
    ["versions, half a table", /shorter than its region/],
    ["versions in slot 0", null],
    ["versions in the header", /in slot 7, and the table has 512/],
    ["versions behind the end", /in slot 512, and the table has 512/],
    ["versions far behind the end", /in slot 4503599627370496, and the table has 512/],
  ] as const
) {
  Deno.test(`a daemon that tells ${kind}: every answer is fresh, one warning`, async () => {
    const daemon = await garbage(kind);
    try {
      const warnings: string[] = [];
      const warn = (message: string) => void warnings.push(message);
      const { socketPath } = daemon;
      const guest = await Guest.connect({ socketPath, cache: "shared", timeoutMs: 10_000, warn });
      let last = 0;
      for (let i = 0; i < 20; i++) {
        const { size } = guest.statSync("/x");
        ok(size > last, `${size} after ${last}: this was told before`);
        last = size;
      }
      equal(warnings.length, warned === null ? 0 : 1, warnings.join("; "));
      if (warned !== null) match(warnings[0]!, warned);
      await guest.close().catch((error) => ok(error instanceof GuestError));
    } finally {
      await daemon.close();
    }
  });
}

Deno.test("a daemon that takes up shared versions unasked: its replies are as ever", async () => {
  const daemon = await garbage("versions behind the end");
  try {
    const { socketPath } = daemon;
    const guest = await Guest.connect({ socketPath, cache: "auto", timeoutMs: 10_000 });
    const { size } = guest.statSync("/x");
    equal(guest.statSync("/x").size, size, "believed for a day, as the daemon says");
    await guest.close().catch((error) => ok(error instanceof GuestError));
  } finally {
    await daemon.close();
  }
});

Deno.test("a daemon that never answers: ETIMEDOUT after the time that was given", async () => {
  const daemon = await garbage("silence");
  try {
    const guest = await Guest.connect({ socketPath: daemon.socketPath, timeoutMs: 300 });
    equal(codeOf(() => guest.statSync("/x")), "ETIMEDOUT");
    equal(codeOf(() => guest.statSync("/x")), "ETIMEDOUT", "and at once from then on");
    await guest.close();
  } finally {
    await daemon.close();
  }
});

Deno.test("somebody who listens and never speaks vhost-user: a clear error", async () => {
  const directory = Deno.makeTempDirSync();
  using listener = Deno.listen({ transport: "unix", path: `${directory}/s` });
  const accepted = listener.accept();
  await rejects(
    Guest.connect({ socketPath: `${directory}/s`, timeoutMs: 200 }),
    (error) =>
      error instanceof DaemonError &&
      /does not answer GET_FEATURES: waited 0.2 s; does it serve another guest\?/.test(
        error.message,
      ),
  );
  (await accepted).close();
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("somebody who answers with something else: a clear error", async () => {
  const directory = Deno.makeTempDirSync();
  using listener = Deno.listen({ transport: "unix", path: `${directory}/s` });
  const speaking = listener.accept().then(async (connection) => {
    await connection.read(new Uint8Array(12));
    await connection.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
    connection.close();
  });
  await rejects(Guest.connect({ socketPath: `${directory}/s`, timeoutMs: 2000 }), DaemonError);
  await speaking;
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("a daemon that is killed with many requests in flight: ENOTCONN, nothing leaks", async () => {
  const directory = Deno.makeTempDirSync({ dir: "/var/tmp" });
  const before = openFiles();
  const subject = await Subject.open({ kind: "directory", directory, args: ["--cache", "auto"] });
  try {
    Deno.writeFileSync(`${directory}/big`, new Uint8Array(64 << 20));
    const guest = await Guest.connect({ socketPath: subject.socketPath });
    const file = guest.openSync("/big");
    const bytes = new Uint8Array(1 << 20);
    // Read-ahead keeps requests in flight while the daemon goes.
    file.readSync(bytes);
    file.readSync(bytes);
    subject.kill();
    let code = "";
    for (let i = 0; i < 100 && code === ""; i++) {
      const seen = codeOf(() => file.readSync(bytes));
      if (seen !== "no error") code = seen;
    }
    equal(code, "ENOTCONN");
    equal(codeOf(() => guest.writeTextFileSync("/x", "x")), "ENOTCONN");
    await guest.close().catch((error) => match(String(error), /ENOTCONN/));
  } finally {
    await subject.close();
    Deno.removeSync(directory, { recursive: true });
  }
  equal(openFiles(), before);
});

Deno.test("a guest that is killed with many requests in flight: the daemon serves the next", async () => {
  const directory = Deno.makeTempDirSync({ dir: "/var/tmp" });
  const subject = await Subject.open({ kind: "directory", directory, args: ["--cache", "auto"] });
  try {
    Deno.writeFileSync(`${directory}/big`, new Uint8Array(64 << 20));
    const module = new URL("../../mod.ts", import.meta.url).href;
    const script = `
      import { Guest } from ${JSON.stringify(module)};
      const guest = await Guest.connect({ socketPath: Deno.args[0] });
      const file = guest.openSync("/big");
      const bytes = new Uint8Array(1 << 20);
      console.log("reading");
      for (;;) if (file.readSync(bytes) === null) file.seekSync(0, 0);`;
    for (let i = 0; i < 3; i++) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--ext=ts", "-", subject.socketPath],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(script));
      await writer.close();
      const reader = child.stdout.getReader();
      await reader.read();
      child.kill("SIGKILL");
      await reader.cancel();
      await child.status;
      await using guest = await Guest.connect({ socketPath: subject.socketPath });
      equal(guest.statSync("/big").size, 64 << 20);
    }
  } finally {
    await subject.close();
    Deno.removeSync(directory, { recursive: true });
  }
});
