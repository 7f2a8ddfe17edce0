/**
 * Symlinks and hard links that lead out, and what is swapped for what while a request runs.
 *
 * @module
 */

import { Opcode } from "../../../wire/fuse.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import type { Answer } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT, write } from "../requests.ts";

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

/** Swaps two names of the share on the host, again and again, until the guest's requests are all back. */
function swapMeanwhile(scene: Scene, what: string): number {
  const { guest, share } = scene;
  let swaps = 0;
  guest.kick();
  for (const end = performance.now() + guest.patienceMs; guest.outstanding > 0; swaps++) {
    Deno.renameSync(`${share}/${what}`, `${share}/${what}.aside`);
    Deno.renameSync(`${share}/${what}.link`, `${share}/${what}`);
    guest.reap();
    Deno.renameSync(`${share}/${what}`, `${share}/${what}.link`);
    Deno.renameSync(`${share}/${what}.aside`, `${share}/${what}`);
    guest.reap();
    // It says what has happened.
    if (performance.now() > end) guest.awaitAll();
  }
  return swaps;
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
      "files and directories that another process of the host swaps for symlinks out, meanwhile",
    run(scene) {
      const { guest, share, tally } = scene;
      Deno.mkdirSync(`${share}/swap`);
      Deno.writeTextFileSync(`${share}/swap/secret`, "inside\n");
      Deno.symlinkSync("../canary", `${share}/swap.link`);
      Deno.writeTextFileSync(`${share}/swapfile`, "inside\n");
      Deno.symlinkSync("../canary/secret", `${share}/swapfile.link`);
      let swaps = 0;
      for (let i = 0; i < rounds(scene, 400); i++) {
        const directory = nodeOf(lookup(guest, ROOT, "swap"));
        const slots: number[] = [];
        for (let j = 0; j < 6; j++) {
          slots.push(
            guest.post(Opcode.LOOKUP, ROOT, body([], "swap")),
            guest.post(Opcode.LOOKUP, directory, body([], "secret")),
            guest.post(Opcode.OPENDIR, directory, body([0, 0])),
            guest.post(Opcode.MKDIR, directory, body([0o755, 0], "made")),
            guest.post(Opcode.RENAME, directory, body([directory], "secret", "renamed")),
            guest.post(Opcode.RENAME, directory, body([directory], "renamed", "secret")),
          );
        }
        swaps += swapMeanwhile(scene, "swap");
        for (const slot of slots) tally.count(guest.answer(slot).status);
        const file = nodeOf(lookup(guest, ROOT, "swapfile"));
        const more: number[] = [];
        for (let j = 0; j < 8; j++) {
          const create = body([O_RDWR | O_CREAT, 0o644, 0, 0], "swapfile");
          more.push(
            guest.post(Opcode.CREATE, ROOT, create),
            guest.post(Opcode.LOOKUP, ROOT, body([], "swapfile")),
            guest.post(Opcode.OPEN, file, body([O_RDWR, 0])),
            guest.post(Opcode.GETATTR, file, body([0, 0, 0n])),
          );
        }
        swaps += swapMeanwhile(scene, "swapfile");
        for (const [j, slot] of more.entries()) {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status !== 0 || (j % 4 !== 0 && j % 4 !== 2)) continue;
          const created = j % 4 === 0;
          const node = created ? nodeOf(answer) : file;
          const handle = handleOf(answer, created ? 128 : 0);
          read(guest, node, handle);
          guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
        }
      }
      tally.remarks.add(`${swaps} swaps on the host`);
    },
  },
  {
    name: "hard-links",
    tries: "LINK of symlinks, directories, forged and forgotten nodes, across a swap on the host",
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
