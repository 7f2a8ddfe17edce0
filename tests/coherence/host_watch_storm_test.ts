import { deepEqual, equal } from "node:assert/strict";
import { randomNumbers, seedOf } from "../intervals/random.ts";
import { LibcError } from "../support/libc.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { exchange, inodeAt, type InodeName } from "./host_changes.ts";
import { WatchedTree } from "./watched_tree.ts";

const BURSTS = 30;
/** Enough that events are read long after what they tell of, and few enough for the queue. */
const BURST = 40;

/** What is at the paths of a tree, directories first. */
function pathsOf(root: string): { directories: string[]; files: string[] } {
  const directories = [root];
  const files: string[] = [];
  for (const directory of directories) {
    for (const { name, isDirectory } of Deno.readDirSync(directory)) {
      (isDirectory ? directories : files).push(`${directory}/${name}`);
    }
  }
  return { directories, files };
}

function inodesOf(root: string): Set<InodeName> {
  const { directories, files } = pathsOf(root);
  return new Set([...directories, ...files].map(inodeAt));
}

/** Makes one random change below `root`, and returns the inodes that it changed. Null if it was not possible. */
function changeSomething(
  root: string,
  random: (below: number) => number,
  links: boolean,
): InodeName[] | null {
  const { directories, files } = pathsOf(root);
  const one = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const directory = one(directories);
  const name = `${directory}/n${random(6)}`;
  const file = files.length === 0 ? null : one(files);
  const parent = (path: string) => path.slice(0, path.lastIndexOf("/"));
  const changed: InodeName[] = [];
  const before = (...paths: string[]) => changed.push(...paths.map(inodeAt));
  /** What a rename replaces; if it is the same inode, nothing happens (rename(2)). */
  const inodeIfThere = (path: string) => {
    try {
      before(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
    return changed.at(-1);
  };
  try {
    switch (random(links ? 9 : 8)) {
      case 0:
        before(directory);
        Deno.mkdirSync(name);
        before(name);
        break;
      case 1:
        before(directory);
        Deno.writeTextFileSync(name, "new", { createNew: true });
        before(name);
        break;
      case 2:
        if (file === null) return null;
        before(file);
        Deno.writeTextFileSync(file, "more", { append: true });
        break;
      case 3:
        if (file === null) return null;
        before(file, parent(file));
        Deno.removeSync(file);
        break;
      case 4: // only if it is empty
        if (directory === root) return null;
        before(directory, parent(directory));
        Deno.removeSync(directory);
        break;
      case 5:
        if (file === null) return null;
        before(file, parent(file), directory);
        if (inodeIfThere(name) === changed[0]) return null;
        Deno.renameSync(file, name);
        break;
      case 6: {
        const moved = one(directories);
        if (moved === root) return null;
        before(moved, parent(moved), directory);
        if (inodeIfThere(name) === changed[0]) return null;
        Deno.renameSync(moved, name);
        break;
      }
      case 7: {
        const [from, to] = [one(directories), one([...directories, ...files])];
        if (from === root || to === root || from === to) return null;
        before(from, to, parent(from), parent(to));
        exchange(from, to);
        break;
      }
      default:
        if (file === null) return null;
        before(file, directory);
        Deno.linkSync(file, name);
    }
  } catch (error) {
    if (!(error instanceof LibcError) && !/os error/.test((error as Error).message)) throw error;
    // Not empty, into itself, over something of another kind: nothing has changed.
    return null;
  }
  return changed;
}

for (
  const { backEnd, inotifyOnly, ignore } of [
    { backEnd: "fanotify", inotifyOnly: false, ignore: ignoreWithoutRoot() },
    { backEnd: "inotify", inotifyOnly: true, ignore: false },
  ]
) {
  Deno.test({
    name:
      `${backEnd}: bursts of random changes: each inode that has changed is reported, and the watch goes on`,
    ignore,
    fn: async () => {
      const seed = seedOf();
      const random = randomNumbers(seed);
      try {
        await using watched = await WatchedTree.open({ inotifyOnly });
        const root = watched.tree.directory("root");
        await watched.settled();
        for (let burst = 0; burst < BURSTS; burst++) {
          watched.clear();
          const known = inodesOf(root);
          const changed = new Set<InodeName>();
          for (let i = 0; i < BURST; i++) {
            for (const inode of changeSomething(root, random, !inotifyOnly) ?? []) {
              changed.add(inode);
            }
          }
          await watched.settled();
          // What came and went between two looks of the watch no guest can have seen.
          const now = inodesOf(root);
          const unreported = [...changed].filter((inode) =>
            !watched.has(inode) && (known.has(inode) || now.has(inode))
          );
          deepEqual(unreported, [], `burst ${burst}: not reported: ${unreported.join(" ")}`);
          await checkWatched(watched, root, `after burst ${burst}`);
        }
        equal(watched.overflows, 0);
      } catch (error) {
        throw new Error(
          `seed ${seed}: ${(error as Error).message}\n` +
            `again: VIRTIOFSD_TS_SEED=${seed} deno test -A tests/coherence/host_watch_storm_test.ts`,
        );
      }
    },
  });
}

/** Whether everything in the tree is watched now. */
async function checkWatched(watched: WatchedTree, root: string, when: string): Promise<void> {
  watched.clear();
  const { directories, files } = pathsOf(root);
  for (const path of [...directories, ...files]) Deno.utimeSync(path, 1, 1);
  await watched.settled();
  const unwatched = [...directories, ...files].filter((path) => !watched.has(inodeAt(path)));
  deepEqual(unwatched, [], `${when}: not watched: ${unwatched.join(" ")}`);
}
