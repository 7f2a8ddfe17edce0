/**
 * Device nodes and FIFOs: opening one is an act on the host (CVE-2020-35517), or waits for ever.
 *
 * @module
 */

import { ATTR, ATTR_OUT, ENTRY_OUT, FUSE_GETATTR_FH, Opcode } from "../../../wire/fuse.ts";
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from "../../../wire/linux.ts";
import { type Attack, raceRounds, type Scene, serveDuring } from "../attack.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT } from "../requests.ts";
import { SecondProcess } from "../second_process.ts";

const O_RDWR = 2;
const O_CREAT = 0o100;
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
    tries:
      "CREATE and OPEN of names that another process of the host swaps for a FIFO and a device node, meanwhile",
    races: "swaps",
    run(scene) {
      const { guest, tally, share } = scene;
      guest.patienceMs = STUCK_MS;
      guest.call(Opcode.MKNOD, ROOT, body([S_IFIFO | 0o666, 0, 0, 0], "fifo"));
      const zero = body([S_IFCHR | 0o666, device(1, 5), 0, 0], "zero");
      const hasDevice = guest.call(Opcode.MKNOD, ROOT, zero).status === 0;
      const create = body([O_RDWR | O_CREAT, 0o644, 0, 0], "plain");
      const node = nodeOf(guest.call(Opcode.CREATE, ROOT, create));
      const others = hasDevice ? ["fifo", "zero"] : ["fifo"];
      using second = SecondProcess.swapping(
        others.map((name) => [`${share}/plain`, `${share}/${name}`]),
      );
      for (const _ of raceRounds(scene, 1500)) {
        const slots: number[] = [];
        for (let j = 0; j < 16; j++) {
          slots.push(
            guest.post(Opcode.CREATE, ROOT, create),
            guest.post(Opcode.OPEN, node, body([O_RDWR, 0])),
          );
        }
        serveDuring(scene, second);
        for (const [j, slot] of slots.entries()) {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status !== 0) continue;
          const isCreated = j % 2 === 0;
          lookInto(
            scene,
            isCreated ? nodeOf(answer) : node,
            handleOf(answer, isCreated ? ENTRY_OUT.SIZE : 0),
          );
        }
      }
    },
  },
];

/** What was opened is the file, which is empty; reading from a FIFO would wait. */
function lookInto({ guest, tally }: Scene, node: bigint, handle: bigint): void {
  const asked = guest.call(Opcode.GETATTR, node, body([FUSE_GETATTR_FH, 0, handle]));
  const mode = asked.status === 0 ? asked.body.getUint32(ATTR_OUT.ATTR + ATTR.MODE, true) : S_IFREG;
  if ((mode & S_IFMT) !== S_IFREG) tally.violations.add("a device or FIFO was opened");
  else if (read(guest, node, handle, 16).body.byteLength > 0) {
    tally.violations.add("a device was read");
  }
  guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
}
