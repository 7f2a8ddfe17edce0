import { deepEqual, equal, throws } from "node:assert/strict";
import {
  OWNER_COUNT_MAX,
  REGISTRY_HEADER,
  REGISTRY_MAGIC_HI,
  registrySize,
  tableSize,
} from "../../src/coherence/registry_layout.ts";
import { SharedVersions } from "../../src/coherence/versions.ts";
import { VersionFiles } from "../../src/coherence/version_files.ts";
import { VERSION_TABLE, VERSION_TABLE_LAYOUT } from "../../src/wire/shared_versions.ts";
import { FreshState } from "../state/fresh_state.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TableFiles } from "./table_files.ts";

const SLOTS = 64;
const ANOTHER = "give another with --version-table";
const REMOVE =
  `end the daemons that use it and remove it and its registry, or give another with --version-table`;

/** Makes the files, and closes them. */
function make(files: TableFiles): void {
  VersionFiles.open(files).close();
}

/** Writes a 32-bit word into a file. */
function poke(path: string, offset: number, value: number): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(new Uint32Array([value]).buffer));
}

/** All that can be seen of the files of a directory. */
function contents(directory: string): unknown[] {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  return names.map((name) => {
    const path = `${directory}/${name}`;
    const { ino, isFile, isSymlink, mode, size, uid } = Deno.lstatSync(path);
    const bytes = isFile ? Deno.readFileSync(path) : null;
    return { name, ino, isSymlink, mode, size, uid, bytes };
  });
}

interface BadInput {
  readonly what: string;
  readonly needsRoot?: boolean;
  readonly spoil: (path: string, files: TableFiles) => void;
  readonly message: (path: string) => string;
}

const userFile = (bytes: number[]) => (path: string) =>
  Deno.writeFileSync(path, new Uint8Array(bytes), { mode: 0o600 });
const notMade = (path: string) =>
  `The version table ${path} cannot be made: it is there and is no version table; ${ANOTHER}`;
const noRegistry = (path: string) =>
  `${path}.registry is no registry of a version table (its magic is another); ${ANOTHER}`;
const noTable = (path: string) =>
  `${path} is no version table (its magic is another), but ${path}.registry is the registry of one: remove that when no daemon uses it, or ${ANOTHER}`;

const BAD: readonly BadInput[] = [
  {
    what: "a table of another layout version",
    spoil: (path, files) => (make(files), poke(path, VERSION_TABLE.LAYOUT_VERSION, 9)),
    message: (path) =>
      `The version table ${path} has layout version 9, expected ${VERSION_TABLE_LAYOUT}: ${REMOVE}`,
  },
  {
    what: "a registry of another layout version",
    spoil: (
      path,
      files,
    ) => (make(files), poke(`${path}.registry`, REGISTRY_HEADER.LAYOUT_VERSION, 7)),
    message: (path) =>
      `${path}.registry has layout version 7, expected 1: end the daemons that use it and remove it, or ${ANOTHER}`,
  },
  {
    what: "a truncated table",
    spoil: (path, files) => (make(files), Deno.truncateSync(path, 256)),
    message: (path) => `The version table ${path} has 256 bytes, expected 512: ${REMOVE}`,
  },
  {
    what: "a table cut to nothing",
    spoil: (path, files) => (make(files), Deno.truncateSync(path, 0)),
    message: noTable,
  },
  {
    what: "a table that has grown",
    spoil: (path, files) => (make(files), Deno.truncateSync(path, 1024)),
    message: (path) => `The version table ${path} has 1024 bytes, expected 512: ${REMOVE}`,
  },
  {
    what: "a truncated registry",
    spoil: (path, files) => (make(files), Deno.truncateSync(`${path}.registry`, 8192)),
    message: (path) =>
      `${path}.registry is damaged: 8192 bytes for 64 slots; end the daemons that use it and remove it, or ${ANOTHER}`,
  },
  {
    what: "a registry cut within its header",
    spoil: (path, files) => (make(files), Deno.truncateSync(`${path}.registry`, 16)),
    message: (path) =>
      `${path}.registry is damaged: 16 bytes for 64 slots; end the daemons that use it and remove it, or ${ANOTHER}`,
  },
  {
    what: "a registry with a number of slots that is none",
    spoil: (
      path,
      files,
    ) => (make(files), poke(`${path}.registry`, REGISTRY_HEADER.SLOT_COUNT, 0xffffffff)),
    message: (path) =>
      `${path}.registry is damaged: ${
        registrySize(SLOTS)
      } bytes for 4294967295 slots; end the daemons that use it and remove it, or ${ANOTHER}`,
  },
  {
    what: "the registry of another table",
    spoil: (path, files) => (make(files), poke(path, VERSION_TABLE.IDENTITY, 12345)),
    message: (path) => `The version table ${path} does not belong to ${path}.registry: ${REMOVE}`,
  },
  {
    what: "a table with another number of slots than its registry says",
    spoil: (path, files) => (make(files), poke(path, VERSION_TABLE.SLOT_COUNT, 128)),
    message: (path) => `The version table ${path} does not belong to ${path}.registry: ${REMOVE}`,
  },
  {
    what: "a table with another magic",
    spoil: (path, files) => (make(files), poke(path, VERSION_TABLE.MAGIC, 1)),
    message: noTable,
  },
  {
    what: "a registry with another magic",
    spoil: (
      path,
      files,
    ) => (make(files), poke(`${path}.registry`, REGISTRY_HEADER.MAGIC_LO, 0x12345)),
    message: noRegistry,
  },
  {
    what: "a registry without its table",
    spoil: (path, files) => (make(files), Deno.removeSync(path)),
    message: (path) =>
      `The version table's file ${path} cannot be opened: ENOENT: it is gone, but its registry is not; end the daemons that use that and remove it, or ${ANOTHER}`,
  },
  {
    what: "the user's file in place of the table",
    spoil: (path) => Deno.writeTextFileSync(path, "three years of work\n", { mode: 0o600 }),
    message: notMade,
  },
  // A disk image, say.
  {
    what: "the user's file that begins with zeroes",
    spoil: userFile([...Array(8192).fill(0), 1]),
    message: notMade,
  },
  { what: "the user's file of one byte", spoil: userFile([0]), message: notMade },
  {
    what: "the user's file in place of the registry",
    spoil: (path) => userFile([1, 2, 3])(`${path}.registry`),
    message: noRegistry,
  },
  {
    what: "the user's file that begins with zeroes in place of the registry",
    spoil: (path) => userFile([...Array(8192).fill(0), 1])(`${path}.registry`),
    message: noRegistry,
  },
  {
    what: "a table that others may read",
    spoil: (path, files) => (make(files), Deno.chmodSync(path, 0o644)),
    message: (path) =>
      `The version table's file ${path} has mode 644, expected 600, so that nobody else reads or changes versions; ${ANOTHER}`,
  },
  {
    what: "a registry that others may write",
    spoil: (path, files) => (make(files), Deno.chmodSync(`${path}.registry`, 0o622)),
    message: (path) =>
      `The version table's file ${path}.registry has mode 622, expected 600, so that nobody else reads or changes versions; ${ANOTHER}`,
  },
  {
    what: "a symbolic link to a table",
    spoil: (
      path,
      files,
    ) => (make(files), Deno.renameSync(path, `${path}.old`), Deno.symlinkSync(`${path}.old`, path)),
    message: (path) =>
      `The version table's file ${path} cannot be opened: ELOOP: it is a symbolic link; ${ANOTHER}`,
  },
  {
    what: "a symbolic link in place of the table",
    spoil: (path) => Deno.symlinkSync("/nowhere", path),
    message: (path) => `The version table ${path} cannot be made: ELOOP; ${ANOTHER}`,
  },
  {
    what: "a symbolic link in place of the registry",
    spoil: (path) => Deno.symlinkSync("/nowhere", `${path}.registry`),
    message: (path) =>
      `The version table's file ${path}.registry cannot be opened: ELOOP: it is a symbolic link; ${ANOTHER}`,
  },
  {
    what: "a directory in place of the table",
    spoil: (path) => Deno.mkdirSync(path),
    message: (path) => `The version table ${path} cannot be made: EISDIR; ${ANOTHER}`,
  },
  {
    what: "a FIFO in place of the registry",
    spoil: (path) => run("mkfifo", "-m", "600", `${path}.registry`),
    message: (path) =>
      `The version table's file ${path}.registry is not a regular file; ${ANOTHER}`,
  },
  {
    what: "a directory that is not there",
    spoil: (_path, files) => Deno.removeSync(files.directory),
    message: (path) =>
      `The version table's file ${path}.registry cannot be opened: ENOENT: no such directory; make it, or ${ANOTHER}`,
  },
  {
    what: "a table that belongs to somebody else",
    needsRoot: true,
    spoil: (path, files) => (make(files), Deno.chownSync(path, 1234, null)),
    message: (path) =>
      `The version table's file ${path} belongs to user 1234, not to ${Deno.uid()}; ${ANOTHER}`,
  },
  {
    what: "a registry that belongs to somebody else",
    needsRoot: true,
    spoil: (path) => {
      userFile([])(`${path}.registry`);
      Deno.chownSync(`${path}.registry`, 1234, null);
    },
    message: (path) =>
      `The version table's file ${path}.registry belongs to user 1234, not to ${Deno.uid()}; ${ANOTHER}`,
  },
];

for (const { what, needsRoot = false, spoil, message } of BAD) {
  Deno.test({
    name: `version table: ${what} is an error in one line, and nothing is touched`,
    ignore: needsRoot && ignoreWithoutRoot(),
    fn() {
      const files = new TableFiles(SLOTS);
      spoil(files.path, files);
      const isThere = exists(files.directory);
      const before = isThere ? contents(files.directory) : null;
      throws(() => files.daemon(), { name: "SetupError", message: message(files.path) });
      if (isThere) {
        deepEqual(contents(files.directory), before);
        files[Symbol.dispose]();
      }
    },
  });
}

/** Mounts a tmpfs over the files' directory for as long as `body` runs. */
function onTmpfs(options: string, body: (files: TableFiles) => void): void {
  using files = new TableFiles(1 << 16);
  run("mount", "-t", "tmpfs", "-o", options, "tmpfs", files.directory);
  try {
    body(files);
  } finally {
    run("umount", files.directory);
  }
}

function run(command: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(command, { args }).outputSync();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}

Deno.test({
  name: "version table: a full file system is an error in one line, and nothing is left",
  ignore: ignoreWithoutRoot(),
  fn() {
    for (const [size, full] of [["64k", ""], ["1m", ".registry"]]) {
      onTmpfs(`size=${size}`, (files) => {
        const mebibytes = full === "" ? "0.5" : (registrySize(1 << 16) / 2 ** 20).toFixed(1);
        throws(() => files.daemon(), {
          name: "SetupError",
          message:
            `No room for the ${mebibytes} MiB of ${files.path}${full}: ENOSPC; use fewer --version-slots, or ${ANOTHER}`,
        });
        deepEqual(contents(files.directory), []);
      });
    }
  },
});

Deno.test({
  name: "version table: a read-only file system is an error in one line",
  ignore: ignoreWithoutRoot(),
  fn() {
    onTmpfs("ro", ({ path, slotCount }) =>
      throws(() => VersionFiles.open({ path, slotCount }), {
        name: "SetupError",
        message:
          `The version table's file ${path}.registry cannot be opened: EROFS: its file system is read-only; ${ANOTHER}`,
      }));
    // There, but no longer to be written.
    onTmpfs("size=16m", (files) => {
      make(files);
      run("mount", "-o", "remount,ro", files.directory);
      throws(() => make(files), {
        name: "SetupError",
        message: /: EROFS: its file system is read-only; give/,
      });
    });
  },
});

Deno.test("version table: more daemons than there are numbers for is an error in one line", () => {
  using files = new TableFiles(SLOTS);
  const config = { path: files.path, slotCount: SLOTS, watchHost: false };
  // They have no inodes, so one state does for all but one.
  using state = new FreshState();
  const others: SharedVersions[] = [];
  const fill = (count: number) => {
    for (let i = 0; i < count; i++) others.push(SharedVersions.open(config, state.memory));
  };
  try {
    fill(77);
    using mortal = files.daemon();
    fill(OWNER_COUNT_MAX - 78);
    const message =
      `The version table ${files.path} is in use by 256 daemons, the most there can be: ${ANOTHER}`;
    throws(() => files.daemon(), { name: "SetupError", message });
    // One that dies makes room, without anybody having swept.
    mortal.kill();
    using next = files.daemon();
    equal(next.owner, 77);
    throws(() => files.daemon(), { name: "SetupError", message });
  } finally {
    for (const versions of others) versions.close();
  }
});

Deno.test("version table: whoever makes it may be killed at any instant: the next one makes it", () => {
  const { MAGIC_LO, MAGIC_HI } = REGISTRY_HEADER;
  const halves: readonly [string, (path: string) => void][] = [
    ["an empty registry", (path) => userFile([])(`${path}.registry`)],
    ["and an empty table", (path) => (userFile([])(`${path}.registry`), userFile([])(path))],
    ["half a magic", (path) => {
      userFile([])(`${path}.registry`);
      poke(`${path}.registry`, MAGIC_HI, REGISTRY_MAGIC_HI);
    }],
    ["a registry of more slots, all but its magic", (path) => {
      VersionFiles.open({ path, slotCount: 4096 }).close();
      poke(`${path}.registry`, MAGIC_LO, 0);
    }],
    ["and a table of more slots with nothing but its magic", (path) => {
      VersionFiles.open({ path, slotCount: 4096 }).close();
      poke(`${path}.registry`, MAGIC_LO, 0);
      Deno.truncateSync(path, 8);
      Deno.truncateSync(path, tableSize(4096));
    }],
    ["a table without a registry", (path) => {
      VersionFiles.open({ path, slotCount: 4096 }).close();
      Deno.removeSync(`${path}.registry`);
    }],
  ];
  for (const [what, leave] of halves) {
    using files = new TableFiles(SLOTS);
    leave(files.path);
    using daemon = files.daemon();
    equal(daemon.thread.slots.count, SLOTS, what);
    equal(Deno.statSync(files.path).size, tableSize(SLOTS), what);
    equal(Deno.statSync(`${files.path}.registry`).size, registrySize(SLOTS), what);
    using second = files.daemon();
    const slot = daemon.thread.registry.acquire(1, 0, 2, 0);
    equal(second.thread.registry.acquire(1, 0, 2, 0), slot, what);
  }
});

Deno.test("version table: the files are their owner's only, and all of their memory is there", () => {
  using files = new TableFiles(1 << 16);
  using daemon = files.daemon();
  for (const path of [files.path, `${files.path}.registry`]) {
    const { mode, blocks, size } = Deno.statSync(path);
    equal((mode ?? 0) & 0o777, 0o600);
    equal((blocks ?? 0) * 512 >= size, true, `${path}: ${blocks} blocks`);
  }
  equal(daemon.versions.isCurrent, true);
  Deno.removeSync(files.path);
  equal(daemon.versions.isCurrent, false);
});

Deno.test("version table: one that is there keeps its number of slots", () => {
  using files = new TableFiles(SLOTS);
  using first = files.daemon();
  const second = VersionFiles.open({ path: files.path, slotCount: 4096 });
  equal(second.slotCount, SLOTS);
  equal(first.thread.slots.count, SLOTS);
  second.close();
});

function exists(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}
