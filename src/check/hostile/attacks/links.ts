/**
 * Symlinks and hard links that lead out, and what is swapped for what while a request runs.
 *
 * @module
 */

import { ATTR, ENTRY_OUT, Opcode } from "../../../wire/fuse.ts";
import { S_IFDIR, S_IFLNK, S_IFMT } from "../../../wire/linux.ts";
import { type Attack, raceRounds, type Scene, serveDuring } from "../attack.ts";
import type { Answer } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT, write } from "../requests.ts";
import { SecondProcess } from "../second_process.ts";

const O_RDWR = 2;
const O_CREAT = 0o100;
const O_TRUNC = 0o1000;
const FATTR_ALL = 0x3f;
const HOSTILE = new TextEncoder().encode("HOSTILE");

/** Everything that can be done with a node, as if it were a file or a directory. */
function use({ guest, tally }: Scene, node: bigint): void {
  const take = (answer: Answer) => {
    tally.count(answer.status);
    return answer;
  };
  for (const flags of [0, O_RDWR, O_RDWR | O_TRUNC]) {
    const opened = take(open(guest, node, flags));
    if (opened.status !== 0) continue;
    take(read(guest, node, handleOf(opened)));
    take(write(guest, node, handleOf(opened), HOSTILE));
    guest.call(Opcode.RELEASE, node, body([handleOf(opened), 0, 0, 0n]));
  }
  const directory = take(open(guest, node, 0, Opcode.OPENDIR));
  if (directory.status === 0) {
    take(
      guest.call(Opcode.READDIRPLUS, node, body([handleOf(directory), 0n, 4096, 0, 0n, 0, 0])),
    );
    guest.call(Opcode.RELEASEDIR, node, body([handleOf(directory), 0, 0, 0n]));
  }
  take(guest.call(Opcode.LOOKUP, node, body([], "secret")));
  take(guest.call(Opcode.MKDIR, node, body([0o755, 0], "made")));
  take(guest.call(Opcode.CREATE, node, body([O_RDWR | O_CREAT, 0o644, 0, 0], "secret")));
  take(guest.call(Opcode.UNLINK, node, body([], "secret")));
  take(guest.call(Opcode.RENAME, node, body([ROOT], "secret", "gained")));
  take(guest.call(Opcode.LINK, ROOT, body([node], "linked")));
  take(guest.call(Opcode.SETXATTR, node, body([2, 0], "user.hostile", "x")));
  take(guest.call(Opcode.GETXATTR, node, body([64, 0], "user.hostile")));
  take(guest.call(Opcode.ACCESS, node, body([7, 0])));
  for (const valid of [FATTR_ALL & ~1 & ~8, 1, 8]) {
    const times = [1n, 1n, 1n, 0, 0, 0];
    const values = [valid, 0, 0n, 0n, 0n, ...times, 0o777, 0, 65534, 65534, 0];
    take(guest.call(Opcode.SETATTR, node, body(values)));
  }
}

/** A directory that is a link out every other moment. */
function raceDirectory(
  scene: Scene,
  second: SecondProcess,
  file: bigint,
  kinds: Map<number, number>,
): void {
  const { guest, tally } = scene;
  const found = lookup(guest, ROOT, "swap");
  const directory = nodeOf(found);
  const slots: number[] = [];
  for (let j = 0; j < 5; j++) {
    slots.push(
      guest.post(Opcode.LOOKUP, ROOT, body([], "swap")),
      guest.post(Opcode.LOOKUP, directory, body([], "secret")),
      guest.post(Opcode.OPENDIR, directory, body([0, 0])),
      guest.post(Opcode.MKDIR, directory, body([0o755, 0], "made")),
      guest.post(Opcode.RENAME, directory, body([directory], "secret", "renamed")),
      guest.post(Opcode.RENAME, directory, body([directory], "renamed", "secret")),
      guest.post(Opcode.LINK, directory, body([file], "linked")),
      guest.post(Opcode.UNLINK, directory, body([], "linked")),
      guest.post(Opcode.RMDIR, directory, body([], "made")),
      guest.post(Opcode.CREATE, directory, body([O_RDWR | O_CREAT, 0o644, 0, 0], "secret")),
    );
  }
  serveDuring(scene, second);
  for (const [j, slot] of slots.entries()) {
    const answer = guest.answer(slot);
    tally.count(answer.status);
    if (answer.status !== 0) continue;
    if (j % 10 === 0) {
      const kind = answer.body.getUint32(ENTRY_OUT.ATTR + ATTR.MODE, true) & S_IFMT;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    } else if (j % 10 === 2) {
      const handle = handleOf(answer);
      guest.call(Opcode.READDIRPLUS, directory, body([handle, 0n, 4096, 0, 0n, 0, 0]));
      guest.call(Opcode.RELEASEDIR, directory, body([handle, 0, 0, 0n]));
    } else if (j % 10 === 9) release(guest, nodeOf(answer), handleOf(answer, ENTRY_OUT.SIZE));
  }
}

/** A file that is a link out every other moment. */
function raceFile(scene: Scene, second: SecondProcess): void {
  const { guest, tally } = scene;
  const file = nodeOf(lookup(guest, ROOT, "swapfile"));
  const slots: number[] = [];
  for (let j = 0; j < 8; j++) {
    const create = body([O_RDWR | O_CREAT, 0o644, 0, 0], "swapfile");
    slots.push(
      guest.post(Opcode.CREATE, ROOT, create),
      guest.post(Opcode.LOOKUP, ROOT, body([], "swapfile")),
      guest.post(Opcode.OPEN, file, body([O_RDWR, 0])),
      guest.post(Opcode.GETATTR, file, body([0, 0, 0n])),
      guest.post(Opcode.LINK, ROOT, body([file], "swapped")),
      guest.post(Opcode.UNLINK, ROOT, body([], "swapped")),
    );
  }
  serveDuring(scene, second);
  for (const [j, slot] of slots.entries()) {
    const answer = guest.answer(slot);
    tally.count(answer.status);
    if (answer.status !== 0 || (j % 6 !== 0 && j % 6 !== 2)) continue;
    const isCreated = j % 6 === 0;
    const node = isCreated ? nodeOf(answer) : file;
    const handle = handleOf(answer, isCreated ? ENTRY_OUT.SIZE : 0);
    read(guest, node, handle);
    release(guest, node, handle);
  }
}

function release(guest: Scene["guest"], node: bigint, handle: bigint): void {
  guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
}

export const LINK_ATTACKS: readonly Attack[] = [
  {
    name: "symlinks",
    tries:
      "opening, reading, changing and walking through symlinks to files and directories outside",
    run(scene) {
      const { guest, canary } = scene;
      const targets = [
        "../canary/secret",
        "../canary",
        `${canary}/secret`,
        canary,
        `/proc/self/root${canary}/secret`,
        `/proc/1/root${canary}`,
        `/proc/self/cwd/../..${canary}`,
      ];
      targets.forEach((target, i) => {
        const made = guest.call(Opcode.SYMLINK, ROOT, body([], `out-${i}`, target));
        const node = nodeOf(made) || nodeOf(lookup(guest, ROOT, `out-${i}`));
        if (node !== 0n) use(scene, node);
        // By its name, as a file to be made.
        const create = body([O_RDWR | O_CREAT | O_TRUNC, 0o644, 0, 0], `out-${i}`);
        const created = guest.call(Opcode.CREATE, ROOT, create);
        scene.tally.count(created.status);
        if (created.status === 0) scene.tally.violations.add("CREATE followed a symlink");
      });
    },
  },
  {
    name: "symlink-races",
    tries:
      "files and directories that another process of the host swaps for symlinks out, meanwhile, by name and as parents",
    races: "swaps",
    run(scene) {
      const { guest, share, tally } = scene;
      Deno.mkdirSync(`${share}/swap`);
      Deno.writeTextFileSync(`${share}/swap/secret`, "inside\n");
      Deno.symlinkSync("../canary", `${share}/swap.link`);
      Deno.writeTextFileSync(`${share}/swapfile`, "inside\n");
      Deno.symlinkSync("../canary/secret", `${share}/swapfile.link`);
      const file = nodeOf(lookup(guest, ROOT, "file"));
      using second = SecondProcess.swapping(
        ["swap", "swapfile"].map((name) => [`${share}/${name}`, `${share}/${name}.link`]),
      );
      const kinds = new Map<number, number>();
      for (const _ of raceRounds(scene, 2000)) {
        raceDirectory(scene, second, file, kinds);
        raceFile(scene, second);
      }
      const count = (kind: number) => kinds.get(kind) ?? 0;
      const links = count(S_IFLNK);
      tally.remarks.add(`it was seen as a directory ${count(S_IFDIR)} times, as a link ${links}`);
    },
  },
  {
    name: "hard-links",
    tries: "LINK of symlinks, directories, forged and forgotten nodes",
    run(scene) {
      const { guest, share, tally } = scene;
      Deno.symlinkSync("../canary/secret", `${share}/out`);
      const link = nodeOf(lookup(guest, ROOT, "out"));
      const directory = nodeOf(lookup(guest, ROOT, "directory"));
      for (
        const [i, node] of [link, directory, ROOT, 0n, 2n ** 63n, link + 1n, link + 99n].entries()
      ) {
        const linked = guest.call(Opcode.LINK, ROOT, body([node], `linked-${i}`));
        tally.count(linked.status);
        const made = nodeOf(linked);
        // A link to the symlink is a symlink: it must not have become what that points to.
        if (made !== 0n) use(scene, made);
      }
      for (const name of Deno.readDirSync(share)) {
        const info = Deno.statSync(`${share}/out`);
        if (info.nlink !== 1) tally.violations.add(`${name.name}: the file outside has links`);
      }
    },
  },
  {
    name: "mounts",
    tries: '"..", LINK and RENAME across a file system that is mounted inside the share',
    run(scene) {
      const { guest, share, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "mounted"));
      if (nodeOf(lookup(guest, node, "here")) === 0n) {
        tally.remarks.add("nothing is mounted there, as the daemon sees it");
        return;
      }
      const file = nodeOf(lookup(guest, ROOT, "file"));
      const up = lookup(guest, node, "..");
      tally.count(up.status);
      if (up.status === 0) tally.count(lookup(guest, nodeOf(up), "canary").status);
      tally.count(guest.call(Opcode.LINK, node, body([file], "linked")).status);
      tally.count(guest.call(Opcode.RENAME, ROOT, body([node], "file", "moved")).status);
      tally.count(guest.call(Opcode.RENAME, node, body([ROOT], "here", "moved")).status);
      tally.count(guest.call(Opcode.RMDIR, ROOT, body([], "mounted")).status);
      if (!Deno.statSync(`${share}/file`).isFile) tally.violations.add("the file has gone");
    },
  },
];
