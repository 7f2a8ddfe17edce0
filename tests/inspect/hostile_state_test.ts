import assert from "node:assert/strict";
import { openStateFile } from "../../src/inspect/daemon_state.ts";
import { BusyError, InspectError } from "../../src/inspect/inspect_error.ts";
import { readInodes } from "../../src/inspect/inodes.ts";
import { readOps } from "../../src/inspect/ops.ts";
import { readQueues } from "../../src/inspect/queues.ts";
import { readSummary } from "../../src/inspect/summary.ts";
import { readWindow } from "../../src/inspect/window.ts";
import { COUNTER } from "../../src/state/counters.ts";
import { writeDescription } from "../../src/state/description.ts";
import * as layout from "../../src/state/layout.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { TempTree } from "../support/temp_tree.ts";
import { refusal } from "./look.ts";

const VIEWS = { readSummary, readOps, readInodes, readWindow, readQueues };

/** A state memory as a daemon would have left it, spoiled by `spoil`. */
function stateFile(tree: TempTree, spoil: (path: string) => void): string {
  const path = tree.path("state");
  const state = StateMemory.create(path);
  writeDescription(state.memory, {
    version: "0.0.0",
    socket: "/run/s",
    sharedDir: "/srv",
    tag: null,
    requestQueues: 1,
    cache: "auto",
    readonly: false,
    writeback: false,
    xattr: false,
    dax: "never",
    inodeFileHandles: "never",
    versionTable: null,
  });
  state.close();
  spoil(path);
  return path;
}

function writeAt(path: string, offset: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  file.writeSync(bytes);
}

const u32 = (...values: number[]) => new Uint8Array(new Uint32Array(values).buffer);
const f64 = (...values: number[]) => new Uint8Array(new Float64Array(values).buffer);

const UNUSABLE: Readonly<Record<string, [(path: string) => void, RegExp]>> = {
  "empty": [(path) => Deno.truncateSync(path, 0), /is no state memory: it has 0 bytes/],
  "cut within the header": [(path) => Deno.truncateSync(path, 4000), /it has 4000 bytes/],
  "cut behind the header": [
    (path) => Deno.truncateSync(path, 1 << 20),
    /has been cut short: it has 1048576 bytes, expected \d+/,
  ],
  "zeroed": [(path) => writeAt(path, 0, new Uint8Array(4096)), /its magic is another/],
  "random": [
    (path) => writeAt(path, 0, crypto.getRandomValues(new Uint8Array(65536))),
    /its magic is another/,
  ],
  "of another version": [
    (path) => writeAt(path, layout.STATE_HEADER.LAYOUT_VERSION, u32(77)),
    new RegExp(`has layout version 77, this program reads ${layout.STATE_LAYOUT_VERSION}`),
  ],
  "of another size by its own word": [
    (path) => writeAt(path, layout.STATE_HEADER.STATE_SIZE, f64(4096)),
    /STATE_SIZE is 4096/,
  ],
  "without a description yet": [
    (path) => writeAt(path, layout.STATE_HEADER.DESCRIPTION_SIZE, u32(0)),
    /has not come up yet/,
  ],
  "with a description that is too long": [
    (path) => writeAt(path, layout.STATE_HEADER.DESCRIPTION_SIZE, u32(1 << 30)),
    /DESCRIPTION_SIZE is 1073741824/,
  ],
  "with a description that is none": [
    (path) => writeAt(path, layout.DESCRIPTION_OFFSET, new TextEncoder().encode('{"version":7')),
    /its description is none/,
  ],
};

for (const [what, [spoil, expected]] of Object.entries(UNUSABLE)) {
  Deno.test(`a state file that is ${what} is refused with a reason`, () => {
    using tree = new TempTree();
    const path = stateFile(tree, spoil);
    assert.throws(() => openStateFile(path), (error) => {
      assert.ok(error instanceof InspectError, `${error}`);
      assert.ok(error.message.includes(path));
      assert.match(error.message, expected);
      return true;
    });
  });
}

const DAX = layout.STATE_HEADER.DAX;
const ROOT_SLOT = layout.INODE_TABLE_OFFSET + layout.INODE_SLOT.SIZE;
const NOT_BELIEVED: Readonly<Record<string, [number, Uint8Array, keyof typeof VIEWS, RegExp]>> = {
  "INODE_FRESH": [layout.STATE_HEADER.INODE_FRESH, u32(0xffffffff), "readInodes", /INODE_FRESH/],
  "HANDLE_FRESH": [layout.STATE_HEADER.HANDLE_FRESH, u32(1 << 31), "readInodes", /HANDLE_FRESH/],
  "INODE_USED": [layout.STATE_HEADER.INODE_USED, u32(1 << 30), "readSummary", /INODE_USED/],
  "DAX.FRESH": [DAX + layout.DAX_HEADER.FRESH, u32(1 << 20), "readWindow", /DAX.FRESH/],
  "WINDOW_SIZE": [DAX + layout.DAX_HEADER.WINDOW_SIZE, f64(NaN), "readWindow", /window/],
  "a counter": [
    layout.COUNTERS_OFFSET + COUNTER.SIZE * 8,
    f64(Infinity),
    "readSummary",
    /REQUESTS/,
  ],
  "a negative counter": [layout.COUNTERS_OFFSET + COUNTER.SIZE * 8, f64(-1), "readOps", /LOOKUP/],
  "a queue's counter": [
    layout.QUEUE_RECORDS_OFFSET + layout.QUEUE_RECORD.KICKS,
    f64(NaN),
    "readQueues",
    /queue/,
  ],
  "the number of regions": [
    layout.CONNECTION_OFFSET + layout.CONNECTION.REGION_COUNT,
    u32(513),
    "readQueues",
    /REGION_COUNT/,
  ],
};

for (const [what, [offset, bytes, view, expected]] of Object.entries(NOT_BELIEVED)) {
  Deno.test(`${what} of a state file is not believed`, () => {
    using tree = new TempTree();
    using state = openStateFile(stateFile(tree, (path) => writeAt(path, offset, bytes)));
    assert.throws(() => VIEWS[view](state), (error) => {
      assert.ok(error instanceof InspectError, `${error}`);
      assert.match(error.message, /is damaged/);
      assert.match(error.message, expected);
      return true;
    });
  });
}

Deno.test("random contents behind a good header: every view comes to an end, with rows or a reason", () => {
  using tree = new TempTree();
  const random = crypto.getRandomValues(new Uint8Array(65536));
  const places = [
    layout.STATE_HEADER.SESSION,
    DAX,
    layout.COUNTERS_OFFSET,
    layout.ERRNO_COUNTERS_OFFSET,
    layout.QUEUE_RECORDS_OFFSET,
    layout.CONNECTION_OFFSET,
    layout.MAPPING_NODES_OFFSET,
    layout.MAPPING_TABLE_OFFSET,
    layout.HANDLE_TABLE_OFFSET,
    ROOT_SLOT,
  ];
  for (const place of places) {
    const size = place < layout.STATE_HEADER.SIZE ? 128 : 8192;
    const path = stateFile(tree, (path) => {
      writeAt(path, layout.STATE_HEADER.INODE_FRESH, u32(100));
      writeAt(path, layout.STATE_HEADER.HANDLE_FRESH, u32(100));
      writeAt(path, DAX + layout.DAX_HEADER.FRESH, u32(100));
      writeAt(path, place, random.subarray(0, size));
    });
    using state = openStateFile(path);
    for (const [name, read] of Object.entries(VIEWS)) {
      try {
        JSON.stringify(read(state));
      } catch (error) {
        assert.ok(error instanceof InspectError, `${name}, ${place}: ${error}`);
      }
    }
  }
});

Deno.test("what a writer has begun is waited for while it lives, and taken as it is once it is dead", () => {
  using tree = new TempTree();
  const record = layout.QUEUE_RECORDS_OFFSET;
  const path = stateFile(tree, (path) => {
    writeAt(path, layout.CONNECTION_OFFSET + layout.CONNECTION.SEQUENCE, u32(1));
    writeAt(path, record + layout.QUEUE_RECORD.WAITING_SEQUENCE, u32(3, 1));
    writeAt(path, record + layout.QUEUE_RECORD.CURRENT_SEQUENCE, u32(5));
    writeAt(path, DAX + layout.DAX_HEADER.SEQUENCE, u32(7));
  });
  using state = openStateFile(path);
  assert.equal(readQueues(state).rows[0]!.outstanding.length, 1);
  readWindow(state);
  state.reader.isAbandoned = false;
  for (const read of [readSummary, readQueues, readWindow]) {
    assert.throws(() => read(state), (error) => {
      assert.ok(error instanceof BusyError, `${error}`);
      assert.match(error.message, /changes faster than it can be read/);
      return true;
    });
  }
});

Deno.test("a FIFO is not waited for", async () => {
  using tree = new TempTree();
  const { success } = await new Deno.Command("mkfifo", { args: [tree.path("fifo")] }).output();
  assert.ok(success);
  assert.throws(() => openStateFile(tree.path("fifo")), /is not a regular file/);
});

Deno.test("a state file that is cut short while it is looked at is an error, not a crash", () => {
  using tree = new TempTree();
  const path = stateFile(tree, () => {});
  using state = openStateFile(path);
  Deno.truncateSync(path, 4096);
  assert.throws(() => readOps(state), /has been cut short/);
});

Deno.test("inodes that are held by file handle have no descriptor and no path; why handles are off is told", () => {
  using tree = new TempTree();
  const slot = layout.INODE_TABLE_OFFSET + 2 * layout.INODE_SLOT.SIZE;
  const path = stateFile(tree, (path) => {
    writeAt(path, layout.STATE_HEADER.INODE_FRESH, u32(4));
    writeAt(path, layout.STATE_HEADER.HANDLES_ERRNO, u32(1));
    // Device 8:1, inode 2^32 + 5, mount 9, generation 3, 1 reference, no descriptor, 2^33 + 7 lookups.
    writeAt(path, slot, u32(1, 8, 5, 1, 9, 3, 1, 0xffffffff, 7, 2, 0, 0o100644));
  });
  using state = openStateFile(path);
  const { rows, handlesOff } = readInodes(state);
  assert.match(handlesOff!, /^EPERM: inodes cannot be held by file handle/);
  assert.deepEqual(rows, [{
    nodeid: 2,
    generation: 3,
    path: null,
    device: "8:1",
    ino: `${2 ** 32 + 5}`,
    mode: 0o100644,
    lookups: 2 ** 33 + 7,
    openHandles: 0,
    heldBy: "handle",
    descriptor: null,
    versionSlot: 0,
    dax: false,
    mappings: 0,
  }]);
});

Deno.test("looking makes no page of a sparse state memory", () => {
  using tree = new TempTree();
  const path = stateFile(tree, () => {});
  using state = openStateFile(path);
  const before = Deno.statSync(path).blocks;
  for (const read of Object.values(VIEWS)) read(state);
  assert.equal(Deno.statSync(path).blocks, before);
});

Deno.test("inspect --state-file: what cannot be shown is one line and exit code 1", async () => {
  using tree = new TempTree();
  const path = stateFile(tree, (path) => writeAt(path, 0, new Uint8Array(16)));
  assert.match(await refusal("ops", "--state-file", path), /^error: the state file .* magic/);
  assert.match(await refusal("--state-file", tree.path("none")), /cannot be opened: ENOENT/);
  assert.match(await refusal("--state-file", tree.root), /is not a regular file/);
});
