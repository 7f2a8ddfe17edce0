import assert from "node:assert/strict";
import { SetupError } from "../../src/setup_error.ts";
import { openListener } from "../../src/vhost_user/listener.ts";
import { InheritedSocket } from "./listening_fd.ts";
import { Workplace } from "./program.ts";

function modeOf(path: string): number {
  return (Deno.statSync(path).mode ?? 0) & 0o7777;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function open(path: string, group: string | null = null) {
  return openListener({ kind: "path", path, group });
}

Deno.test("openListener() makes a private socket and a pid file, close() removes both", () => {
  using place = new Workplace();
  const listener = open(place.socket);
  assert.equal(Deno.statSync(place.socket).isSocket, true);
  assert.equal(modeOf(place.socket), 0o700);
  assert.equal(modeOf(`${place.socket}.pid`), 0o600);
  assert.equal(Deno.readTextFileSync(`${place.socket}.pid`), `${Deno.pid}\n`);
  listener.close();
  assert.equal(exists(place.socket), false);
  assert.equal(exists(`${place.socket}.pid`), false);
  listener.close();
});

Deno.test("openListener() leaves the process's umask as it was", () => {
  using place = new Workplace();
  const before = Deno.umask();
  open(place.socket).close();
  assert.equal(Deno.umask(), before);
});

Deno.test({
  name: "openListener() gives the socket to a group",
  ignore: Deno.uid() !== 0,
  fn: () => {
    using place = new Workplace();
    const listener = open(place.socket, "daemon");
    assert.equal(modeOf(place.socket), 0o770);
    assert.notEqual(Deno.statSync(place.socket).gid, Deno.gid());
    listener.close();
  },
});

Deno.test("openListener() removes a socket given by a relative path from anywhere", () => {
  using place = new Workplace();
  const before = Deno.cwd();
  Deno.chdir(place.directory);
  try {
    const listener = open("vhost.sock");
    assert.equal(exists(place.socket), true);
    Deno.chdir("/");
    listener.close();
    assert.equal(exists(place.socket), false);
    assert.equal(exists(`${place.socket}.pid`), false);
  } finally {
    Deno.chdir(before);
  }
});

Deno.test("openListener() accepts connections", async () => {
  using place = new Workplace();
  const listener = open(place.socket);
  const connection = await Deno.connect({ transport: "unix", path: place.socket });
  connection.close();
  listener.close();
});

Deno.test("openListener() says who has the socket", () => {
  using place = new Workplace();
  const first = open(place.socket);
  assert.throws(() => open(place.socket), (error) => {
    assert.ok(error instanceof SetupError);
    assert.match(error.message, new RegExp(`in use.*pid ${Deno.pid}`));
    return true;
  });
  // The loser took nothing away.
  assert.equal(exists(place.socket), true);
  assert.equal(exists(`${place.socket}.pid`), true);
  first.close();
});

Deno.test("openListener() takes over what a killed daemon left", () => {
  using place = new Workplace();
  new InheritedSocket(place.socket)[Symbol.dispose]();
  Deno.writeTextFileSync(`${place.socket}.pid`, "999999999999\n");
  assert.equal(exists(place.socket), true);
  const listener = open(place.socket);
  assert.equal(Deno.readTextFileSync(`${place.socket}.pid`), `${Deno.pid}\n`);
  listener.close();
});

Deno.test("openListener() does not remove what is not a socket", () => {
  using place = new Workplace();
  Deno.writeTextFileSync(place.socket, "precious");
  assert.throws(() => open(place.socket), /exists and is not a socket/);
  assert.equal(Deno.readTextFileSync(place.socket), "precious");
  assert.equal(exists(`${place.socket}.pid`), false);
});

Deno.test("openListener() refuses what cannot be a socket's path", () => {
  using place = new Workplace();
  const cases: readonly [string, string | null, RegExp][] = [
    [`${place.directory}/missing/s`, null, /directory of the socket .* does not exist/],
    [`${place.directory}/${"x".repeat(108)}`, null, /more than 107 bytes/],
    [place.socket, "no-such-group-here", /no group no-such-group-here/],
  ];
  for (const [path, group, message] of cases) {
    assert.throws(() => open(path, group), (error) => {
      assert.ok(error instanceof SetupError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(exists(`${place.socket}.pid`), false);
});

Deno.test("openListener() adopts a launcher's socket and leaves its name alone", () => {
  using place = new Workplace();
  using socket = new InheritedSocket(place.socket);
  const listener = openListener({ kind: "fd", fd: socket.fd });
  assert.equal(listener.fd, socket.fd);
  assert.equal(exists(`${place.socket}.pid`), false);
  assert.equal(exists(place.socket), true);
});

Deno.test("openListener() refuses descriptors that do not listen", () => {
  using place = new Workplace();
  using socket = new InheritedSocket(place.socket, false);
  assert.throws(
    () => openListener({ kind: "fd", fd: socket.fd }),
    /not a listening UNIX stream socket/,
  );
  assert.throws(() => openListener({ kind: "fd", fd: 999_999 }), /not a socket/);
});
