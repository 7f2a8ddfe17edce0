/**
 * Numbers that the daemon has never given out, or no longer stands for.
 *
 * @module
 */

import { FUSE_GETATTR_FH, Opcode } from "../../../wire/fuse.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT } from "../requests.ts";

const ALL_ONES = 2n ** 64n - 1n;

function nodes(live: bigint): bigint[] {
  const near = [0n, 2n, 3n, 4n, 5n, 17n, 100n, 1000n, 65536n, 2n ** 24n, 2n ** 31n, 2n ** 32n - 1n];
  const far = [2n ** 32n + 1n, 2n ** 53n, 2n ** 63n, ALL_ONES, 0xffff_ffff_0000_0001n];
  return [...near, ...far, live + 1n, live + (1n << 32n), (1n << 63n) | live].filter((node) =>
    node !== live && node !== ROOT
  );
}

/** Everything that is about a node alone. The daemon has not given it out, or it was forgotten: whatever it is served as, it is not the guest's. */
function useNode({ guest, tally }: Scene, node: bigint): void {
  const refused = ({ status }: { readonly status: number }, what: string) => {
    tally.count(status);
    if (status === 0) tally.violations.add(`${what} with a node that nobody was given`);
  };
  refused(guest.call(Opcode.GETATTR, node, body([0, 0, 0n])), "GETATTR");
  refused(lookup(guest, node, "secret"), "LOOKUP");
  refused(lookup(guest, node, ".."), 'LOOKUP of ".."');
  refused(guest.call(Opcode.READLINK, node), "READLINK");
  refused(guest.call(Opcode.MKDIR, node, body([0o755, 0], "made")), "MKDIR");
  refused(guest.call(Opcode.UNLINK, node, body([], "secret")), "UNLINK");
  refused(guest.call(Opcode.RENAME, node, body([ROOT], "secret", "gained")), "RENAME from");
  refused(guest.call(Opcode.RENAME, ROOT, body([node], "file", "secret")), "RENAME to");
  refused(guest.call(Opcode.LISTXATTR, node, body([256, 0])), "LISTXATTR");
  const opened = open(guest, node, 0);
  refused(opened, "OPEN");
  if (opened.status === 0) read(guest, node, handleOf(opened));
  const directory = open(guest, node, 0, Opcode.OPENDIR);
  refused(directory, "OPENDIR");
  if (directory.status !== 0) return;
  guest.call(Opcode.READDIRPLUS, node, body([handleOf(directory), 0n, 4096, 0, 0n, 0, 0]));
}

/** Everything that is about a handle. */
function useHandle({ guest, tally }: Scene, node: bigint, handle: bigint): void {
  const tryOne = (opcode: number, bytes: Uint8Array) =>
    tally.count(guest.call(opcode, node, bytes).status);
  const bytes = body([handle, 0n, 4, 0, 0n, 0, 0], "ABC");
  for (
    const { status } of [read(guest, node, handle), guest.call(Opcode.WRITE, node, bytes)]
  ) {
    tally.count(status);
    if (status === 0) tally.violations.add("READ or WRITE with a handle that nobody was given");
  }
  tryOne(Opcode.GETATTR, body([FUSE_GETATTR_FH, 0, handle]));
  tryOne(Opcode.FSYNC, body([handle, 0n]));
  tryOne(Opcode.FALLOCATE, body([handle, 0n, 4096n, 0, 0]));
  tryOne(Opcode.LSEEK, body([handle, 0n, 3, 0]));
  tryOne(Opcode.READDIR, body([handle, 0n, 4096, 0, 0n, 0, 0]));
  tryOne(Opcode.READDIRPLUS, body([handle, 0n, 4096, 0, 0n, 0, 0]));
  tryOne(Opcode.FSYNCDIR, body([handle, 0n]));
  tryOne(Opcode.COPY_FILE_RANGE, body([handle, 0n, node, handle, 8n, 4n, 0n]));
  tryOne(Opcode.GETLK, body([handle, 1n, 0n, 9n, 1, 1, 0, 0]));
  tryOne(Opcode.SETLK, body([handle, 1n, 0n, 9n, 1, 1, 0, 0]));
}

function forget(guest: Scene["guest"], node: bigint, count: bigint): void {
  const slot = guest.post(Opcode.FORGET, node, body([count]), 0);
  guest.kick();
  guest.await(slot);
}

export const FORGERY_ATTACKS: readonly Attack[] = [
  {
    name: "forged-nodes",
    tries: "operations on nodes that were made up or forgotten",
    run(scene) {
      const { guest } = scene;
      const live = nodeOf(lookup(guest, ROOT, "file"));
      for (const node of nodes(live)) useNode(scene, node);
      forget(guest, live, 1n);
      useNode(scene, live);
    },
  },
  {
    name: "forged-handles",
    tries:
      "handles that were made up, are closed, or belong to another node; the daemon's own descriptors",
    run(scene) {
      const { guest } = scene;
      const file = nodeOf(lookup(guest, ROOT, "file"));
      const directory = nodeOf(lookup(guest, ROOT, "directory"));
      const handle = handleOf(open(guest, file, 2));
      for (let number = 0n; number < 48n; number++) {
        if (number !== handle) useHandle(scene, file, number);
      }
      for (const forged of nodes(handle)) useHandle(scene, file, forged);
      useHandle(scene, directory, handle);
      guest.call(Opcode.RELEASE, file, body([handle, 0, 0, 0n]));
      useHandle(scene, file, handle);
      // Twice, and of another kind.
      guest.call(Opcode.RELEASE, file, body([handle, 0, 0, 0n]));
      guest.call(Opcode.RELEASEDIR, file, body([handle, 0, 0, 0n]));
    },
  },
  {
    name: "forget-underflow",
    tries:
      "FORGET of more than was looked up, of the root, of nobody; BATCH_FORGET with counts that lie",
    run(scene) {
      const { guest, tally } = scene;
      for (const count of [0n, 2n, 1000n, 2n ** 32n, 2n ** 63n, ALL_ONES]) {
        const node = nodeOf(lookup(guest, ROOT, "file"));
        forget(guest, node, count);
        forget(guest, node, count);
        forget(guest, ROOT, count);
        forget(guest, node + 1n, count);
        tally.rounds += 4;
        const lies = body([Number(count & 0xffffffffn), 0, node, count, ROOT, count]);
        guest.post(Opcode.BATCH_FORGET, 0n, lies, 0);
        guest.kick();
        guest.awaitAll();
        if (guest.call(Opcode.GETATTR, ROOT, body([0, 0, 0n])).status !== 0) {
          tally.endings.add("the root was forgotten");
        }
      }
    },
  },
  {
    name: "forget-races",
    tries:
      "FORGET and LOOKUP, OPEN and RELEASE of one node at once; counts that add up beyond 32 bits",
    run(scene) {
      const { guest, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      for (let i = 0; i < rounds(scene, 500); i++) {
        for (let j = 0; j < 8; j++) {
          guest.post(Opcode.LOOKUP, ROOT, body([], "file"));
          guest.post(Opcode.FORGET, node, body([j % 3 === 0 ? ALL_ONES : 1n]), 0);
          guest.post(Opcode.OPEN, node, body([0, 0]));
          guest.post(Opcode.RELEASE, node, body([BigInt(i * 8 + j), 0, 0, 0n]));
        }
        guest.kick();
        guest.awaitAll();
        tally.rounds += 32;
      }
      if (nodeOf(lookup(guest, ROOT, "file")) === 0n) tally.violations.add("the file was lost");
    },
  },
];
