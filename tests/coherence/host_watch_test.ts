import { deepEqual, equal, match } from "node:assert/strict";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { FileMapping, HOST_CHANGES, type HostChange, inodeAt } from "./host_changes.ts";
import { TempTree } from "../support/temp_tree.ts";
import { WatchedTree } from "./watched_tree.ts";

const BACK_ENDS = [
  { backEnd: "fanotify", inotifyOnly: false, ignore: ignoreWithoutRoot() },
  { backEnd: "inotify", inotifyOnly: true, ignore: false },
] as const;

function run(command: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(command, { args }).outputSync();
  if (!success) {
    throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
}

/** Makes each change in a directory of its own below `place`, and waits for the reports. */
async function checkAll(watched: WatchedTree, place: string, exact: boolean): Promise<void> {
  Deno.mkdirSync(`${place}/marks`, { recursive: true });
  for (const change of HOST_CHANGES) {
    const directory = `${place}/${change.name.replaceAll(/\W+/g, "_")}`;
    Deno.mkdirSync(directory);
    try {
      await check(watched, change, directory, `${place}/marks`, exact);
    } catch (error) {
      throw new Error(`${change.name}: ${(error as Error).message}`);
    }
  }
}

async function check(
  watched: WatchedTree,
  change: HostChange,
  directory: string,
  marks: string,
  exact: boolean,
): Promise<void> {
  change.prepare?.(directory);
  await watched.settled(marks);
  watched.clear();
  const inodes = (change.before ?? []).map((name) => inodeAt(`${directory}/${name}`));
  change.make(directory);
  for (const name of change.after ?? []) inodes.push(inodeAt(`${directory}/${name}`));
  await watched.reported(inodes);
  if (!exact) return;
  await watched.settled(marks);
  for (const name of change.unchanged ?? []) {
    equal(watched.has(inodeAt(`${directory}/${name}`)), false, `${name} did not change`);
  }
}

for (const { backEnd, inotifyOnly, ignore } of BACK_ENDS) {
  Deno.test({
    name: `${backEnd}: every kind of change reports its inodes, and no others`,
    ignore,
    fn: async () => {
      await using watched = await WatchedTree.open({ inotifyOnly });
      await checkAll(watched, watched.tree.root, true);
      equal(watched.overflows, 0);
      deepEqual(watched.log, []);
    },
  });

  Deno.test({
    name: `${backEnd}: and deep below the directory, and below one that is made later`,
    ignore,
    fn: async () => {
      await using watched = await WatchedTree.open(
        { inotifyOnly },
        (tree) => void tree.directory("was/there"),
      );
      await checkAll(watched, watched.tree.path("was/there"), true);
      Deno.mkdirSync(watched.tree.path("came/later"), { recursive: true });
      await checkAll(watched, watched.tree.path("came/later"), true);
      Deno.renameSync(watched.tree.path("came"), watched.tree.path("was/moved"));
      Deno.mkdirSync(watched.tree.path("was/moved/later/again"));
      await checkAll(watched, watched.tree.path("was/moved/later/again"), true);
      deepEqual(watched.log, []);
    },
  });

  Deno.test({
    name: `${backEnd}: and on a file system that is mounted below, before the start or after it`,
    ignore: ignoreWithoutRoot(),
    fn: async () => {
      const mounts: string[] = [];
      await using watched = await WatchedTree.open({ inotifyOnly }, (tree) => {
        mounts.push(tree.directory("a b"), tree.directory("later"));
        run("mount", "-t", "tmpfs", "tmpfs", mounts[0]!);
      });
      try {
        await checkAll(watched, mounts[0]!, true);
        await watched.settled();
        watched.clear();
        run("mount", "-t", "tmpfs", "tmpfs", mounts[1]!);
        // The name leads elsewhere now.
        await watched.reported([inodeAt(watched.tree.root)]);
        await checkAll(watched, mounts[1]!, true);
        watched.clear();
        run("umount", mounts.pop()!);
        await watched.reported([inodeAt(watched.tree.root)]);
      } finally {
        for (const mount of mounts) run("umount", mount);
      }
      deepEqual(watched.log, []);
    },
  });

  Deno.test({
    name: `${backEnd}: stores through a mapping are reported at its end, not at msync`,
    ignore,
    fn: async () => {
      await using watched = await WatchedTree.open({ inotifyOnly });
      const path = watched.tree.file("f", new Uint8Array(4096));
      await watched.settled();
      watched.clear();
      const inode = inodeAt(path);
      {
        using mapping = new FileMapping(path);
        mapping.store();
        await watched.settled();
        // The kernel tells nobody: if it does one day, all the better, and this line goes.
        equal(watched.has(inode), false);
      }
      await watched.reported([inode]);
    },
  });

  Deno.test({
    name: `${backEnd}: lost events are told, and what follows is reported`,
    ignore,
    fn: async () => {
      await using watched = await WatchedTree.open({ inotifyOnly });
      const directory = watched.tree.directory("many");
      await watched.settled();
      const queue = Number(
        Deno.readTextFileSync(`/proc/sys/fs/${backEnd}/max_queued_events`),
      );
      // Nobody reads in the meantime: this is the thread that would. Each is an event of its own.
      for (let i = 0; i < queue + 100; i++) Deno.symlinkSync("x", `${directory}/${i}`);
      watched.tree.directory("unseen/below");
      await watched.until(() => watched.overflows > 0, () => "an overflow");
      // inotify reports it again when it has found what it missed.
      if (inotifyOnly) await watched.until(() => watched.overflows > 1, () => "the second one");
      await watched.settled();
      await checkAll(watched, watched.tree.path("unseen/below"), true);
    },
  });

  Deno.test({
    name: `${backEnd}: nothing is reported after close`,
    ignore,
    fn: async () => {
      await using watched = await WatchedTree.open({ inotifyOnly });
      const path = watched.tree.file("f");
      await watched.settled();
      await watched.stop();
      watched.clear();
      Deno.writeTextFileSync(path, "x");
      Deno.chmodSync(path, 0o600);
      // Another watch sees it; the closed one had as much time.
      await using other = await WatchedTree.open({ inotifyOnly });
      await other.settled();
      equal(watched.has(inodeAt(path)), false);
    },
  });
}

Deno.test({
  name: "fanotify: what a daemon does is left out, also with the same file at the same time",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    await using watched = await WatchedTree.open({ isDaemon: (pid) => pid === Deno.pid });
    const settled = () => watched.settled(undefined, (mark) => run("chmod", "600", mark));
    await settled();
    watched.clear();
    const path = watched.tree.file("own", "mine");
    Deno.chmodSync(path, 0o600);
    Deno.linkSync(path, watched.tree.path("linked"));
    await settled();
    equal(watched.has(inodeAt(path)), false);
    equal(watched.has(inodeAt(watched.tree.root)), false);
    run("chmod", "644", path);
    Deno.chmodSync(path, 0o600);
    await watched.reported([inodeAt(path)]);
  },
});

Deno.test({
  name: "fanotify: changes through names and descriptors that are not in the directory",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    await using outside = await WatchedTree.open();
    await using watched = await WatchedTree.open();
    const path = outside.tree.file("outside");
    Deno.linkSync(path, watched.tree.path("inside"));
    const unnamed = watched.tree.file("unnamed");
    const unnamedInode = inodeAt(unnamed);
    using file = Deno.openSync(unnamed, { write: true });
    Deno.removeSync(unnamed);
    await watched.settled();
    watched.clear();
    Deno.writeTextFileSync(path, "x");
    file.truncateSync(3);
    await watched.reported([inodeAt(path), unnamedInode]);
  },
});

Deno.test({
  name: "fanotify: overlayfs: its handles are opened, or inotify is used, with a line that says so",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    for (const handles of [true, false]) {
      let mount = "";
      let below = "";
      await using watched = await WatchedTree.open({}, (tree) => {
        below = Deno.makeTempDirSync();
        run("mount", "-t", "tmpfs", "tmpfs", below);
        for (const name of ["lower", "upper", "work"]) Deno.mkdirSync(`${below}/${name}`);
        mount = tree.directory("overlay");
        const layers = `lowerdir=${below}/lower,upperdir=${below}/upper,workdir=${below}/work`;
        const options = handles ? `${layers},index=on,nfs_export=on` : layers;
        run("mount", "-t", "overlay", "overlay", "-o", options, mount);
      });
      try {
        const directory = `${mount}/d`;
        Deno.mkdirSync(directory);
        Deno.mkdirSync(`${directory}/marks`);
        for (
          const change of HOST_CHANGES.filter(({ name }) => /^(create|append|chmod)$/.test(name))
        ) {
          const own = `${directory}/${change.name}`;
          Deno.mkdirSync(own);
          await check(watched, change, own, `${directory}/marks`, false);
        }
        equal(watched.log.length, handles ? 0 : 1, watched.log.join("\n"));
        if (!handles) {
          match(watched.log[0]!, /overlay is watched with inotify: it has no file handles/);
        }
      } finally {
        run("umount", mount);
        run("umount", below);
        Deno.removeSync(below);
      }
    }
  },
});

Deno.test("inotify: names that are not UTF-8, and a shared directory that is named by a symbolic link", async () => {
  using links = new TempTree();
  const link = links.path("link");
  const name = "x$(printf '\\377')";
  const shell = (root: string, script: string) =>
    run("/bin/sh", "-c", `cd "$0" && ${script}`, root);
  await using watched = await WatchedTree.open({ directory: link, inotifyOnly: true }, (tree) => {
    Deno.symlinkSync(tree.root, link);
    shell(tree.root, `mkdir "${name}" && echo > "${name}/${name}"`);
  });
  await watched.settled();
  watched.clear();
  shell(
    watched.tree.root,
    `echo more >> "${name}/${name}" && stat -c %i "${name}/${name}" > number`,
  );
  const ino = Deno.readTextFileSync(watched.tree.path("number")).trim();
  // On the device of the directory.
  await watched.reported([inodeAt(watched.tree.root).replace(/\d+$/, ino)]);
});

Deno.test("a directory that is not there is refused with the reason", async () => {
  await WatchedTree.open({ directory: "/nonexistent/directory" }).then(
    () => equal("opened", "refused"),
    (error) => match(error.message, /No such file/),
  );
});
