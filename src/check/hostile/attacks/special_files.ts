/**
 * Device nodes and FIFOs: opening one is an act on the host (CVE-2020-35517), or waits for ever.
 *
 * @module
 */

import { Opcode } from "../../../wire/fuse.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT } from "../requests.ts";

const O_RDWR = 2;
const O_CREAT = 0o100;
const S_IFIFO = 0o10000;
const S_IFCHR = 0o20000;
const S_IFBLK = 0o60000;
const S_IFSOCK = 0o140000;
/** What an open(2) that waits for a FIFO's other end would take: for ever. */
const STUCK_MS = 8000;

function device(major: number, minor: number): number {
  return (minor & 0xff) | major << 8;
}

const SPECIAL: readonly (readonly [name: string, mode: number, rdev: number])[] = [
  ["fifo", S_IFIFO, 0],
  ["zero", S_IFCHR, device(1, 5)],
  ["kmsg", S_IFCHR, device(1, 11)],
  ["memory", S_IFCHR, device(1, 1)],
  ["tty", S_IFCHR, device(5, 0)],
  ["loop", S_IFBLK, device(7, 0)],
  ["disk", S_IFBLK, device(8, 0)],
  ["socket", S_IFSOCK, 0],
];

/** Opens in every way; what can be opened so is opened on the host. */
function openSpecial({ guest, tally }: Scene, node: bigint, name: string): void {
  for (const flags of [0, 1, O_RDWR, O_RDWR | 0o4000]) {
    const opened = open(guest, node, flags);
    tally.count(opened.status);
    if (opened.status !== 0) continue;
    tally.violations.add(`${name} was opened`);
    read(guest, node, handleOf(opened), 64);
    guest.call(Opcode.RELEASE, node, body([handleOf(opened), 0, 0, 0n]));
  }
  const size = body([8, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0]);
  tally.count(guest.call(Opcode.SETATTR, node, size).status);
}

export const SPECIAL_FILE_ATTACKS: readonly Attack[] = [
  {
    name: "special-files",
    tries:
      "opening device nodes, FIFOs and sockets that were made, found, or renamed over a file's name",
    run(scene) {
      const { guest, tally } = scene;
      guest.patienceMs = STUCK_MS;
      for (const [name, mode, rdev] of SPECIAL) {
        const made = guest.call(Opcode.MKNOD, ROOT, body([mode | 0o666, rdev, 0, 0], name));
        tally.count(made.status);
        const node = nodeOf(made) || nodeOf(lookup(guest, ROOT, name));
        if (node === 0n) continue;
        openSpecial(scene, node, name);
        // A file whose node is known, and whose name then stands for something else.
        const file = guest.call(
          Opcode.CREATE,
          ROOT,
          body([O_RDWR | O_CREAT, 0o644, 0, 0], "plain"),
        );
        guest.call(Opcode.RENAME, ROOT, body([ROOT], name, "plain"));
        tally.count(open(guest, nodeOf(file), O_RDWR).status);
        openSpecial(scene, nodeOf(lookup(guest, ROOT, "plain")), name);
        const create = body([O_RDWR | O_CREAT, 0o644, 0, 0], "plain");
        const created = guest.call(Opcode.CREATE, ROOT, create);
        tally.count(created.status);
        if (created.status === 0) tally.violations.add(`${name} was opened by CREATE`);
        guest.call(Opcode.UNLINK, ROOT, body([], "plain"));
      }
    },
  },
  {
    name: "special-file-races",
    tries: "CREATE and OPEN of names that become a FIFO or device node at the same time",
    run(scene) {
      const { guest, tally } = scene;
      guest.patienceMs = STUCK_MS;
      guest.call(Opcode.MKNOD, ROOT, body([S_IFIFO | 0o666, 0, 0, 0], "fifo"));
      const zero = body([S_IFCHR | 0o666, device(1, 5), 0, 0], "zero");
      const special = guest.call(Opcode.MKNOD, ROOT, zero).status === 0 ? "zero" : "fifo";
      const created = guest.call(
        Opcode.CREATE,
        ROOT,
        body([O_RDWR | O_CREAT, 0o644, 0, 0], "plain"),
      );
      const exchange = (what: string) =>
        guest.post(Opcode.RENAME2, ROOT, body([ROOT, 2n], "plain", what));
      for (let i = 0; i < rounds(scene, 500); i++) {
        const slots: number[] = [];
        for (let j = 0; j < 8; j++) {
          exchange(j % 2 === 0 ? special : "fifo");
          slots.push(
            guest.post(Opcode.CREATE, ROOT, body([O_RDWR | O_CREAT, 0o644, 0, 0], "plain")),
            guest.post(Opcode.OPEN, nodeOf(created), body([O_RDWR, 0])),
          );
          exchange(j % 2 === 0 ? special : "fifo");
        }
        guest.kick();
        guest.awaitAll();
        for (const [j, slot] of slots.entries()) {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status !== 0) continue;
          const isCreated = j % 2 === 0;
          const node = isCreated ? nodeOf(answer) : nodeOf(created);
          const handle = handleOf(answer, isCreated ? 128 : 0);
          const bytes = read(guest, node, handle, 16);
          // The file is empty; /dev/zero is not.
          if (bytes.status === 0 && bytes.body.byteLength > 0) {
            tally.violations.add("a device was read");
          }
          guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
        }
      }
    },
  },
];
