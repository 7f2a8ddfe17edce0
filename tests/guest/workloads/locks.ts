/**
 * Locks: between guest processes always, between guest and host where the daemon takes them there.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import { mustPerl, PerlPeer } from "./processes.ts";
import type { Workload } from "./workload.ts";

// Speaks line by line: takes, tries, releases locks on the file given.
const LOCKER = `
my ($path) = @ARGV; open(my $f, "+<", $path) or die $!;
sub fcntl_lock { my ($cmd, $type) = @_; my $s = pack("s s x4 q q i x4", $type, 0, 0, 0, 0); return fcntl($f, $cmd, $s) ? "ok" : 0 + $!; }
while (my $line = <STDIN>) { chomp $line;
  if ($line eq "flock") { print flock($f, LOCK_EX) ? "ok" : 0 + $!, "\\n"; }
  elsif ($line eq "try-flock") { print flock($f, LOCK_EX | LOCK_NB) ? "ok" : 0 + $!, "\\n"; }
  elsif ($line eq "unflock") { print flock($f, LOCK_UN) ? "ok" : 0 + $!, "\\n"; }
  elsif ($line eq "fcntl") { print fcntl_lock(F_SETLKW, F_WRLCK), "\\n"; }
  elsif ($line eq "try-fcntl") { print fcntl_lock(F_SETLK, F_WRLCK), "\\n"; }
  elsif ($line eq "unfcntl") { print fcntl_lock(F_SETLK, F_UNLCK), "\\n"; }
}
`;

const REFUSED = `${libc.ERRNO.EAGAIN}`;

async function ask(peer: PerlPeer, question: string): Promise<string> {
  await peer.say(question);
  return await peer.line();
}

/** flock, fcntl and OFD locks between two processes; who waits is woken. */
export const guestLocks: Workload = {
  name: "locks",
  core: true,
  async run({ dir }) {
    const path = `${dir}/lock`;
    Deno.writeTextFileSync(path, "");
    for (const kind of ["flock", "fcntl"]) {
      await using first = new PerlPeer(LOCKER, [path]);
      await using second = new PerlPeer(LOCKER, [path]);
      assert.equal(await ask(first, kind), "ok", `${kind}: take`);
      assert.equal(await ask(second, `try-${kind}`), REFUSED, `${kind}: second`);
      const waiting = ask(second, kind);
      // The mount must answer while somebody waits for a lock.
      Deno.writeTextFileSync(`${dir}/meanwhile-${kind}`, "alive");
      assert.equal(Deno.readTextFileSync(`${dir}/meanwhile-${kind}`), "alive");
      assert.equal(await ask(first, `un${kind}`), "ok", `${kind}: release`);
      assert.equal(await waiting, "ok", `${kind}: the waiter is woken`);
      assert.equal(await ask(first, `try-${kind}`), REFUSED, `${kind}: now the other way round`);
    }
    // Locks go with the process that held them.
    await mustPerl(
      `open(my $f, "+<", $ARGV[0]) or die; flock($f, LOCK_EX | LOCK_NB) or die "flock: $!";`,
      [
        path,
      ],
    );
    const fd = must(libc.open(path, libc.O.RDWR), "open");
    const other = must(libc.open(path, libc.O.RDWR), "open");
    const { OFD_SETLK, OFD_GETLK, WRLCK, UNLCK } = libc.FCNTL;
    must(libc.fcntlLock(fd, OFD_SETLK, WRLCK, 10, 20).result, "OFD lock");
    mustFail(
      libc.fcntlLock(other, OFD_SETLK, WRLCK, 25, 1).result,
      "EAGAIN",
      "overlapping OFD lock",
    );
    must(libc.fcntlLock(other, OFD_SETLK, WRLCK, 30, 5).result, "OFD lock beside it");
    assert.equal(libc.fcntlLock(other, OFD_GETLK, WRLCK, 10, 1).lockType, WRLCK);
    must(libc.fcntlLock(fd, OFD_SETLK, UNLCK, 0, 0).result, "unlock");
    assert.equal(libc.fcntlLock(other, OFD_GETLK, WRLCK, 10, 1).lockType, UNLCK);
    libc.close(fd);
    libc.close(other);
  },
};

/** With `-o posix_lock,flock`: host and guest keep each other out. */
export const hostLocks: Workload = {
  name: "host-locks",
  core: true,
  notFor: ({ hostLocks }) => hostLocks ? null : "locks stay in the guest",
  async run({ dir, host, isVirtiofs }) {
    if (!isVirtiofs) return;
    const path = `${dir}/lock`;
    Deno.writeTextFileSync(path, "");
    for (const kind of ["flock", "fcntl"] as const) {
      await using peer = new PerlPeer(LOCKER, [path]);
      assert.equal(await ask(peer, kind), "ok", `${kind}: the guest takes it`);
      const refused = await host({ do: "try-lock", name: "lock", kind });
      assert.equal(refused, -libc.ERRNO.EAGAIN, `${kind}: the host is kept out`);
      assert.equal(await ask(peer, `un${kind}`), "ok");
      assert.equal(await host({ do: "lock", name: "lock", kind }), 0, `${kind}: the host takes it`);
      assert.equal(await ask(peer, `try-${kind}`), REFUSED, `${kind}: the guest is kept out`);
      const waiting = ask(peer, kind);
      for (let i = 0; i < 20; i++) {
        // A waiting lock request must not hold up the queue.
        Deno.writeTextFileSync(`${dir}/meanwhile-${kind}-${i}`, "alive");
        assert.equal(Deno.readTextFileSync(`${dir}/meanwhile-${kind}-${i}`), "alive");
      }
      await host({ do: "unlock", name: "lock", kind });
      assert.equal(await waiting, "ok", `${kind}: the guest gets it when the host lets go`);
    }
    // Both guest processes have ended: their locks must be gone on the host.
    for (const kind of ["flock", "fcntl"] as const) {
      assert.equal(await host({ do: "try-lock", name: "lock", kind }), 0, `${kind}: gone at exit`);
    }
  },
};
