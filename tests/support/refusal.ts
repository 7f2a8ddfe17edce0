/**
 * What is asked of a daemon that meets a bad front end: one clear answer, and service for the next.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Daemon, isRustPeer, until } from "./daemon.ts";
import { Frontend } from "./frontend.ts";
import { ROOT } from "./fuse_client.ts";
import { Guest } from "./guest.ts";

/** After whatever a test did, the next front end is served in full. */
export function serveNext(daemon: Daemon): void {
  if (isRustPeer) return;
  using guest = Guest.connect(daemon.socketPath);
  assert.equal(guest.fuse.getattr(ROOT).mode & 0o170000, 0o040000);
}

/** A non-zero status, or a hang-up with a line in the log: both are honest. */
export async function refused(
  daemon: Daemon,
  frontend: Frontend,
  request: number,
  payload: Uint8Array,
  fds: number[] = [],
): Promise<void> {
  const before = daemon.stderr().length;
  const status = frontend.acknowledge(request, payload, fds);
  assert.notEqual(status, 0n, `request ${request} was accepted`);
  if (status === null) {
    await until("a line in the log", () => daemon.stderr().length > before);
    const lines = daemon.stderr().slice(before).trim().split("\n").length;
    assert.ok(lines <= 3, `${lines} lines in the log for one refusal`);
  }
}

/** A front end that has shaken hands and given nothing else yet. */
export function negotiated(daemon: Daemon): Frontend {
  const frontend = Frontend.connect(daemon.socketPath);
  frontend.negotiate();
  return frontend;
}
