/**
 * Names that are no names, and the way up by "..".
 *
 * @module
 */

import { Opcode } from "../../../wire/fuse.ts";
import { type Attack, raceRounds, type Scene, serveDuring } from "../attack.ts";
import { type Answer, SLOTS } from "../raw_guest.ts";
import { body, lookup, nodeOf, ROOT } from "../requests.ts";
import { SecondProcess } from "../second_process.ts";

const S_IFREG = 0o100644;

/** Everything that is not one component of a path. All lead to the canary: a daemon that follows them must not cost the host anything else. */
function hostileNames({ canary }: Scene): string[] {
  return [
    "..",
    ".",
    "",
    `${canary}/`,
    "../canary",
    "../canary/secret",
    "../canary/inner/made",
    "directory/../../canary/secret",
    "./../canary",
    "/../canary/secret",
    `${canary}/secret`,
    `/proc/self/root${canary}/secret`,
    "directory/file",
    "x".repeat(256),
    "x".repeat(4096),
  ];
}

/** Each operation that takes a name, with this one. */
function tryName({ guest }: Scene, name: string, file: bigint): Answer[] {
  const { call } = { call: guest.call.bind(guest) };
  return [
    call(Opcode.LOOKUP, ROOT, body([], name)),
    call(Opcode.MKNOD, ROOT, body([S_IFREG, 0, 0, 0], name)),
    call(Opcode.MKDIR, ROOT, body([0o755, 0], name)),
    call(Opcode.SYMLINK, ROOT, body([], name, "target")),
    call(Opcode.UNLINK, ROOT, body([], name)),
    call(Opcode.RMDIR, ROOT, body([], name)),
    call(Opcode.LINK, ROOT, body([file], name)),
    call(Opcode.CREATE, ROOT, body([2, 0o644, 0, 0], name)),
    call(Opcode.RENAME, ROOT, body([ROOT], "file", name)),
    call(Opcode.RENAME, ROOT, body([ROOT], name, "gained")),
    call(Opcode.RENAME2, ROOT, body([ROOT, 0n], "file", name)),
    call(Opcode.RENAME2, ROOT, body([ROOT, 2n], name, "file")),
    call(Opcode.LOOKUP, ROOT, body([], "file")),
  ];
}

export const NAME_ATTACKS: readonly Attack[] = [
  {
    name: "names",
    tries: '"..", "/", paths and absolute paths as names, in every operation that takes one',
    run(scene) {
      const file = nodeOf(lookup(scene.guest, ROOT, "file"));
      for (const name of hostileNames(scene)) {
        const answers = tryName(scene, name, file);
        for (const { status } of answers.slice(0, -1)) scene.tally.count(status);
      }
      if (nodeOf(lookup(scene.guest, ROOT, "gained")) !== 0n) {
        // From where, the audit says: paths within the share harm nobody.
        scene.tally.remarks.add("RENAME takes paths for names");
      }
    },
  },
  {
    name: "names-without-end",
    tries: "names without their NUL, with one inside, and cut off within the struct before",
    run({ guest, tally }) {
      const name = new TextEncoder().encode("../canary/secret");
      for (const opcode of [1, 6, 8, 9, 10, 11, 12, 13, 21, 22, 24, 35, 45, 51]) {
        for (let size = 0; size <= name.length; size++) {
          tally.count(guest.call(opcode, ROOT, name.slice(0, size)).status);
        }
        const inner = body([0n, 0n], "file\0/../../canary/secret");
        tally.count(guest.call(opcode, ROOT, inner).status);
      }
    },
  },
  {
    name: "dot-dot",
    tries:
      'LOOKUP of ".." from the root and upwards from deep directories, while another process of the host moves them about',
    races: "moves",
    run(scene) {
      const { guest, tally, share } = scene;
      const deep = ["directory", "inner"].reduce((node, name) => {
        return nodeOf(lookup(guest, node, name)) || node;
      }, ROOT);
      for (const start of [ROOT, deep]) {
        let node = start;
        for (let i = 0; i < 10; i++) {
          const up = lookup(guest, node, "..");
          tally.count(up.status);
          const parent = nodeOf(up);
          // Found beyond the root: whatever it is, what it has for names is not the share's.
          if (parent !== 0n) node = parent;
          const canary = lookup(guest, node, "canary");
          tally.count(canary.status);
          if (canary.status === 0) tally.violations.add('".." led out of the share');
        }
      }
      // Upwards, while somebody on the host moves the directory to another depth and back.
      Deno.mkdirSync(`${share}/elsewhere/far/directory`, { recursive: true });
      const away = `${share}/elsewhere/far/directory`;
      using second = SecondProcess.swapping([[`${share}/directory`, away]]);
      for (const _ of raceRounds(scene, 300)) {
        const slots = Array.from({ length: SLOTS / 2 }, (_, i) => {
          return i % 2 === 0
            ? guest.post(Opcode.LOOKUP, deep, body([], ".."))
            : guest.post(Opcode.LOOKUP, deep, body([], "../../../canary"));
        });
        serveDuring(scene, second);
        for (const slot of slots) tally.count(guest.answer(slot).status);
      }
    },
  },
];
