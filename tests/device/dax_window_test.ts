import assert from "node:assert/strict";
import { Daemon, isRustPeer } from "../support/daemon.ts";
import { type FuseClient, type Pending, ROOT } from "../support/fuse_client.ts";
import { INIT, O, OP, readEntry } from "../support/fuse_wire.ts";
import { Guest, type GuestOptions, setUpRing } from "../support/guest.ts";
import { GuestRegion } from "../support/guest_memory.ts";
import { errno } from "../support/libc.ts";
import { name, words } from "../support/little_endian.ts";
import { ignoreWithoutViews } from "../support/privilege.ts";
import { type Scene, ServedTree } from "../support/served_tree.ts";
import {
  ATTR_DAX,
  DAX_INIT,
  DAX_PROTOCOL,
  DaxGuest,
  MAP_FLAG,
  NO_HANDLE,
  removeBody,
  setupBody,
  type SetupFields,
  SHMEM,
  shmemSizes,
} from "../support/shmem_frontend.ts";
import { TempTree } from "../support/temp_tree.ts";
import { mask, PROTOCOL, REQUEST } from "../support/vhost_messages.ts";
import { randomNumbers, seedOf } from "../intervals/random.ts";

const PAGE = 4096;
const MIB = 1 << 20;
const RANGE = 2 * MIB;
const WINDOW = 16 * MIB;
const TWO_POW_63 = 1n << 63n;
const ALL_ONES = (1n << 64n) - 1n;

const WINDOW_ARGS = ["--dax-window", "16M"];
const always = new ServedTree(["--dax", "always", ...WINDOW_ARGS]);
const automatic = new ServedTree(["--dax", "auto", ...WINDOW_ARGS]);
// Files that a daemon has demoted are remembered by inode number, which the next test's file may have.
const demoting = new ServedTree(["--dax", "auto", ...WINDOW_ARGS]);
const never = new ServedTree(["--dax", "never"]);
const readonly = new ServedTree(["--dax", "always", ...WINDOW_ARGS, "--readonly"]);
const twoQueues = new ServedTree([
  "--dax",
  "always",
  ...WINDOW_ARGS,
  "--num-request-queues",
  "2",
]);
const bit21 = new ServedTree(["--dax", "always", ...WINDOW_ARGS, "--dax-protocol-bit", "21"]);
const large = new ServedTree(["--dax", "always", "--dax-window", "1G"]);

/** What a test body gets. */
interface DaxScene extends Omit<Scene, "guest"> {
  readonly dax: DaxGuest;
}

/** A test with a guest that has a window. */
function daxTest(
  served: ServedTree,
  name: string,
  body: (scene: DaxScene) => void | Promise<void>,
  options: GuestOptions = {},
): void {
  bareTest(served, name, async (scene) => {
    using dax = DaxGuest.connect(scene.daemon.socketPath, options);
    await body({ ...scene, dax });
  });
}

/** A test that makes its own connections. */
function bareTest(
  served: ServedTree,
  name: string,
  body: (scene: Omit<Scene, "guest">) => void | Promise<void>,
): void {
  if (ignoreWithoutViews() || isRustPeer) Deno.test.ignore(name, () => {});
  else served.testWithoutGuest(name, body, { notOnRust: true });
}

/** Bytes that tell where they are: each page begins with the file's number and its own. */
function tagged(size: number, file: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 1) bytes[at] = (at * 31 + (at >> 12) + file) & 0xff;
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 8 <= size; at += PAGE) {
    view.setUint32(at, file, true);
    view.setUint32(at + 4, at / PAGE, true);
  }
  return bytes;
}

/** A tagged file of the tree, looked up. */
function taggedFile(
  { tree, dax }: Pick<DaxScene, "tree" | "dax">,
  name: string,
  size: number,
  file = 1,
): bigint {
  tree.file(name, tagged(size, file));
  return dax.fuse.lookup(ROOT, name).nodeid;
}

function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let at = 0; at < actual.length; at += 1) {
    if (actual[at] !== expected[at]) assert.fail(`${what}: byte ${at} differs`);
  }
}

/** The tag of the page at an offset of the window. */
function tagAt(dax: DaxGuest, offset: number): [file: number, page: number] {
  const bytes = dax.window.bytes(offset);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return [view.getUint32(0, true), view.getUint32(4, true)];
}

/** Nothing of the window has changed and nothing was asked of the front end. */
function assertUntouched(dax: DaxGuest, act: () => void, what: string): void {
  const before = dax.window.record();
  const { requests } = dax.window;
  act();
  assert.deepEqual(dax.window.record(), before, `${what}: the window`);
  assert.equal(dax.window.requests, requests, `${what}: requests to the front end`);
}

// --- negotiation ---------------------------------------------------------------------------

daxTest(always, "DAX: INIT answers MAP_ALIGNMENT and HAS_INODE_DAX", ({ dax }) => {
  assert.equal(dax.window.size, WINDOW);
  const wanted = mask(INIT.MAP_ALIGNMENT, INIT.HAS_INODE_DAX);
  assert.equal(dax.init!.flags & wanted, wanted);
  assert.equal(dax.init!.mapAlignment, 12);
});

for (const bit of [INIT.MAP_ALIGNMENT, INIT.HAS_INODE_DAX]) {
  daxTest(always, `DAX: a guest that does not offer INIT bit ${bit} is not given it`, ({ dax }) => {
    assert.equal(dax.init!.flags & mask(bit), 0n);
  }, { initFlags: DAX_INIT & ~mask(bit) });
}

/** A guest of a front end without a window: reads by request, maps nothing. */
function assertNoWindow(guest: Guest, tree: TempTree): void {
  tree.file("f", tagged(2 * MIB, 1));
  const { flags, mapAlignment } = guest.fuse.init(DAX_INIT);
  assert.equal(flags & mask(INIT.MAP_ALIGNMENT, INIT.HAS_INODE_DAX), 0n);
  assert.equal(mapAlignment, 0);
  const { nodeid, attr } = guest.fuse.lookup(ROOT, "f");
  assert.equal(attr.flags & ATTR_DAX, 0);
  assert.equal(guest.fuse.fails(OP.SETUPMAPPING, nodeid, setupBody({})), errno.EOPNOTSUPP);
  const one = removeBody([[0, RANGE]]);
  assert.ok(guest.fuse.call(OP.REMOVEMAPPING, 0n, one).error < 0);
  const fh = guest.fuse.open(nodeid);
  assert.equal(guest.fuse.read(nodeid, fh, 0n, PAGE).length, PAGE);
}

bareTest(always, "DAX: no window for a front end without SHMEM", ({ daemon, tree }) => {
  using guest = Guest.connect(daemon.socketPath, { init: false });
  assertNoWindow(guest, tree);
});

bareTest(always, "DAX: no window for one that never asks for the regions", ({ daemon, tree }) => {
  const options = { init: false, protocolFeatures: DAX_PROTOCOL };
  using guest = Guest.connect(daemon.socketPath, options);
  guest.frontend.setBackendReqFd();
  assertNoWindow(guest, tree);
});

bareTest(always, "DAX: no window without a back-end channel", ({ daemon, tree }) => {
  const options = { init: false, protocolFeatures: DAX_PROTOCOL };
  using guest = Guest.connect(daemon.socketPath, options);
  guest.frontend.ask(REQUEST.GET_SHMEM_CONFIG);
  assertNoWindow(guest, tree);
});

bareTest(always, "DAX: no region for one that cannot be sent descriptors", ({ daemon, tree }) => {
  const protocolFeatures = DAX_PROTOCOL & ~mask(PROTOCOL.BACKEND_SEND_FD);
  using guest = Guest.connect(daemon.socketPath, { init: false, protocolFeatures });
  guest.frontend.setBackendReqFd();
  assert.deepEqual(shmemSizes(guest.frontend.ask(REQUEST.GET_SHMEM_CONFIG)), []);
  assertNoWindow(guest, tree);
});

bareTest(never, "DAX: --dax never offers no SHMEM", ({ daemon, tree }) => {
  const options = { init: false, protocolFeatures: DAX_PROTOCOL };
  using guest = Guest.connect(daemon.socketPath, options);
  assert.equal(guest.frontend.protocolFeatures, DAX_PROTOCOL & ~mask(PROTOCOL.SHMEM));
  assertNoWindow(guest, tree);
});

daxTest(bit21, "DAX: --dax-protocol-bit 21", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  assert.deepEqual(tagAt(dax, PAGE), [1, 1]);
}, { protocolFeatures: (DAX_PROTOCOL & ~mask(PROTOCOL.SHMEM)) | mask(21n) });

// --- files ---------------------------------------------------------------------------------

for (const size of [0, 1, PAGE - 1, PAGE, PAGE + 1, RANGE - 1, RANGE, RANGE + 1]) {
  daxTest(always, `DAX: a file of ${size} bytes is what is mapped`, ({ dax, tree }) => {
    const nodeid = taggedFile({ dax, tree }, "f", size);
    const content = tagged(size, 1);
    const length = Math.max(RANGE, Math.ceil(size / RANGE) * RANGE);
    dax.map(nodeid, 4 * MIB, 0, length);
    const pages = Math.ceil(size / PAGE) * PAGE;
    const seen = dax.window.bytes(4 * MIB).subarray(0, pages);
    assertSame(seen.slice(0, size), content, "what is mapped");
    assertSame(seen.slice(size), new Uint8Array(pages - size), "what is behind the end");
    if (size > 0) {
      // In the file at once for everybody, and it gets no longer.
      seen[0] = 0xc0;
      seen[size - 1] = 0xde;
      const after = Deno.readFileSync(tree.path("f"));
      assert.equal(after.length, size, "the file's size");
      assert.equal(after[0], size === 1 ? 0xde : 0xc0);
      assert.equal(after[size - 1], 0xde);
    }
    assert.equal(Deno.statSync(tree.path("f")).size, size);
    assert.equal(dax.remove([4 * MIB, length]).error, 0);
    assert.deepEqual(dax.window.record(), []);
    assert.equal(Deno.statSync(tree.path("f")).size, size);
    assert.deepEqual(dax.window.refusals, []);
  });
}

daxTest(always, "DAX: a file that grows shows what is new through its mapping", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 100);
  dax.map(nodeid, 0, 0, RANGE);
  assert.equal(dax.window.bytes(0)[200], 0);
  tree.file("f", tagged(3 * PAGE, 7));
  assert.deepEqual(tagAt(dax, 2 * PAGE), [7, 2]);
  const fh = dax.fuse.open(nodeid, O.RDWR);
  dax.fuse.write(nodeid, fh, BigInt(3 * PAGE), tagged(PAGE, 9));
  assert.deepEqual(tagAt(dax, 3 * PAGE), [9, 0]);
});

daxTest(always, "DAX: writable from the start: an upgrade needs no message", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  assert.equal(dax.setup(nodeid, { flags: MAP_FLAG.READ }).error, 0);
  const [mapped] = dax.window.mapped.values();
  assert.equal(mapped!.writable, true);
  assertUntouched(dax, () => dax.map(nodeid, 0, 0, RANGE), "upgrade");
});

daxTest(always, "DAX: a handle may be named, if it is one of the file", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  const fh = dax.fuse.open(nodeid, O.RDWR);
  assert.equal(dax.setup(nodeid, { fh }).error, 0);
  const other = taggedFile({ dax, tree }, "g", RANGE, 2);
  assertUntouched(dax, () => assert.ok(dax.setup(other, { fh }).error < 0), "another's handle");
});

// --- the specification's overlap -------------------------------------------------------------

daxTest(always, "DAX: a mapping replaces one at the same place", ({ dax, tree }) => {
  const one = taggedFile({ dax, tree }, "f", 2 * RANGE, 1);
  const two = taggedFile({ dax, tree }, "g", 2 * RANGE, 2);
  dax.map(one, RANGE, 0, RANGE);
  dax.map(two, RANGE, RANGE, RANGE);
  assert.equal(dax.window.mapped.size, 1);
  assert.deepEqual(tagAt(dax, RANGE), [2, RANGE / PAGE]);
  assert.deepEqual(dax.window.refusals, []);
});

daxTest(always, "DAX: one in the middle of another splits it", ({ dax, tree }) => {
  const one = taggedFile({ dax, tree }, "f", 4 * RANGE, 1);
  const two = taggedFile({ dax, tree }, "g", RANGE, 2);
  dax.map(one, 0, RANGE, 3 * RANGE);
  dax.map(two, RANGE, 0, RANGE);
  assert.equal(dax.window.mapped.size, 3);
  assert.deepEqual(tagAt(dax, 0), [1, RANGE / PAGE]);
  assert.deepEqual(tagAt(dax, RANGE), [2, 0]);
  assert.deepEqual(tagAt(dax, 2 * RANGE), [1, 3 * RANGE / PAGE]);
  assert.deepEqual(dax.window.refusals, []);
});

daxTest(always, "DAX: removing a part leaves the rest", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 2 * RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  assert.equal(dax.remove([PAGE, PAGE], [RANGE - PAGE, 3 * PAGE]).error, 0);
  assert.deepEqual(
    dax.window.record().map((line) => line.split(",")[0]),
    [`0+${PAGE} from 0`, `${2 * PAGE}+${RANGE - 3 * PAGE} from ${2 * PAGE}`],
  );
  assert.deepEqual(dax.window.refusals, []);
});

daxTest(always, "DAX: removing what is not there is no error", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  assertUntouched(dax, () => assert.equal(dax.remove([RANGE, RANGE]).error, 0), "nothing there");
  assert.equal(dax.remove([0, WINDOW]).error, 0);
  assert.deepEqual(dax.window.record(), []);
});

daxTest(always, "DAX: a mapping outlives the guest's FORGET and the name", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.map(nodeid, 0, 0, 4 * PAGE);
  dax.guest.forget(nodeid);
  Deno.removeSync(tree.path("f"));
  // Its file has to be opened again for that.
  assert.equal(dax.remove([PAGE, PAGE]).error, 0);
  assert.equal(dax.window.mapped.size, 2);
  assert.deepEqual(tagAt(dax, 3 * PAGE), [1, 3]);
});

/** What each page of the window shows: which page of which file. */
type Model = ([file: number, page: number] | null)[];

/** The front end's record says the same as the model, and so do the bytes. */
function assertModel(dax: DaxGuest, model: Model, what: string): void {
  const shown: Model = Array.from({ length: model.length }, () => null);
  for (const one of dax.window.mapped.values()) {
    const view = new DataView(one.memory.buffer);
    for (let at = 0; at < one.length; at += PAGE) {
      const tag: [number, number] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
      assert.equal(tag[1] * PAGE, one.fileOffset + at, `${what}: the page is of that offset`);
      shown[(one.offset + at) / PAGE] = tag;
    }
  }
  for (const [page, tag] of model.entries()) {
    assert.deepEqual(shown[page], tag, `${what}: page ${page} of the window`);
  }
}

/** Random requests against the model; `prepare` makes life harder with the same random numbers. */
function randomMappings(
  { dax, tree }: DaxScene,
  name: string,
  steps: number,
  prepare: (random: (below: number) => number) => void = () => {},
): void {
  const seed = seedOf();
  const random = randomNumbers(seed);
  prepare(random);
  const filePages = 3 * RANGE / PAGE;
  const files = [1, 2, 3].map((file) => taggedFile({ dax, tree }, `f${file}`, 3 * RANGE, file));
  const model: Model = Array.from({ length: WINDOW / PAGE }, () => null);
  for (let step = 0; step < steps; step += 1) {
    const replay = `step ${step}; replay: VIRTIOFSD_TS_SEED=${seed} deno test -A ` +
      `tests/device/dax_window_test.ts --filter "${name}"`;
    // Long ranges and short ones, in one corner of the window more often than elsewhere.
    const start = random(random(2) === 0 ? model.length : 64);
    const most = [4, 64, filePages][random(3)]!;
    const count = 1 + random(Math.min(most, model.length - start));
    if (random(3) > 0) {
      const file = random(files.length);
      const page = random(filePages - count + 1);
      dax.map(files[file]!, start * PAGE, page * PAGE, count * PAGE);
      for (let i = 0; i < count; i += 1) model[start + i] = [file + 1, page + i];
    } else {
      assert.equal(dax.remove([start * PAGE, count * PAGE]).error, 0, replay);
      model.fill(null, start, start + count);
    }
    assertModel(dax, model, replay);
    assert.deepEqual(dax.window.refusals, [], replay);
  }
}

const RANDOM = "random mappings are those of a naive array of pages";
daxTest(always, `DAX: ${RANDOM}`, (scene) => randomMappings(scene, RANDOM, 200));

const DISTURBED = "random mappings of a front end that has other things to do first";
daxTest(always, `DAX: ${DISTURBED}`, (scene) => {
  const { frontend, regions } = scene.dax.guest;
  randomMappings(scene, DISTURBED, 60, (random) => {
    scene.dax.window.rules.before = () => {
      const what = random(8);
      if (what === 0) frontend.setMemTable(regions);
      if (what === 1) frontend.enable(0, false);
      if (what === 2) frontend.enable(0, true);
      if (what === 3) assert.ok(frontend.isAlive());
      return true;
    };
  });
});

// --- hostile requests ------------------------------------------------------------------------

/** SETUPMAPPING that is an error, whatever is mapped. */
const SETUP_REFUSALS: Record<string, SetupFields> = {
  "an unaligned window offset": { offset: 1 },
  "a window offset that is half a page": { offset: 2048 },
  "an unaligned file offset": { fileOffset: 100 },
  "an unaligned length": { length: PAGE + 1 },
  "length 0": { length: 0 },
  "length 2^63": { length: TWO_POW_63 },
  "length 2^64 - 1": { length: ALL_ONES },
  "length 2^64 - 4096": { length: -4096n },
  "a length larger than the window": { length: WINDOW + PAGE },
  "the window's end": { offset: WINDOW },
  "beyond the window's end": { offset: WINDOW - PAGE, length: 2 * PAGE },
  "far out of the window": { offset: 1n << 40n },
  "window offset 2^63": { offset: TWO_POW_63 },
  "window offset 2^64 - 4096": { offset: -4096n, length: 2 * PAGE },
  "window offset 2^64 - 1": { offset: ALL_ONES },
  "file offset 2^63": { fileOffset: TWO_POW_63, length: PAGE },
  "file offset 2^63 - 4096": { fileOffset: TWO_POW_63 - 4096n, length: 2 * PAGE },
  "file offset 2^64 - 4096": { fileOffset: -4096n, length: 2 * PAGE },
  "file offset 2^64 - 1": { fileOffset: ALL_ONES },
  "file offset 2^62": { fileOffset: 1n << 62n, length: PAGE },
  "no flags": { flags: 0n },
  "flag 2^2": { flags: 7n },
  "flag 2^63": { flags: TWO_POW_63 | 3n },
  "all flags": { flags: ALL_ONES },
  "a handle that nobody has": { fh: 12345n },
  "handle 0": { fh: 0n },
  "a handle of another generation": { fh: 0xffff_0000_0000n },
  "a handle of half of ones": { fh: 0xffff_ffffn },
};

for (const [what, fields] of Object.entries(SETUP_REFUSALS)) {
  daxTest(always, `DAX SETUPMAPPING: ${what} is an error`, ({ dax, tree }) => {
    const nodeid = taggedFile({ dax, tree }, "f", 2 * RANGE);
    dax.map(nodeid, 0, RANGE, RANGE);
    dax.map(nodeid, WINDOW - RANGE, 0, RANGE);
    assertUntouched(dax, () => {
      const { error } = dax.setup(nodeid, fields);
      assert.ok(error < 0, "it succeeded");
    }, what);
    assert.deepEqual(tagAt(dax, 0), [1, RANGE / PAGE]);
    dax.map(nodeid, RANGE, 0, RANGE);
  });
}

daxTest(always, "DAX SETUPMAPPING: what is no regular file is an error", ({ dax, tree }) => {
  tree.directory("d");
  Deno.symlinkSync("f", tree.path("l"));
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  const { fuse } = dax;
  const fifo = fuse.mknod(ROOT, "p", 0o010644).nodeid;
  const nodes = [ROOT, fuse.lookup(ROOT, "d").nodeid, fuse.lookup(ROOT, "l").nodeid, fifo];
  assertUntouched(dax, () => {
    for (const node of nodes) {
      assert.ok(dax.setup(node, {}).error < 0, `node ${node}`);
      assert.ok(dax.setup(node, { flags: MAP_FLAG.READ }).error < 0, `node ${node}`);
    }
  }, "no regular file");
});

daxTest(always, "DAX SETUPMAPPING: nodeids that do not exist are errors", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  assertUntouched(dax, () => {
    for (const node of [0n, 999n, 1n << 31n, 1n << 32n | nodeid, TWO_POW_63, ALL_ONES, NO_HANDLE]) {
      assert.ok(dax.setup(node, {}).error < 0, `node ${node}`);
    }
  }, "no such node");
  dax.fuse.open(nodeid);
});

daxTest(always, "DAX SETUPMAPPING: a request that is too short is an error", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  assertUntouched(dax, () => {
    for (const length of [0, 8, 39]) {
      const body = setupBody({ offset: RANGE }).subarray(0, length);
      assert.ok(dax.fuse.call(OP.SETUPMAPPING, nodeid, body).error < 0, `${length} bytes`);
    }
  }, "too short");
});

/** REMOVEMAPPING that is an error, whatever is mapped. */
const REMOVE_REFUSALS: Record<string, Uint8Array> = {
  "count 0": removeBody([], 0),
  "count 0 and a range": removeBody([[0, RANGE]], 0),
  "a count larger than the request": removeBody([[0, RANGE]], 2),
  "a count of 2^28 + 1": removeBody([[0, RANGE]], 2 ** 28 + 1),
  "a count of 2^32 - 1": removeBody([[0, RANGE]], 0xffff_ffff),
  "a range cut short": removeBody([[0, RANGE]]).subarray(0, 19),
  "no count": new Uint8Array(0),
  "an unaligned offset": removeBody([[1, PAGE]]),
  "an unaligned length": removeBody([[0, PAGE - 1]]),
  "length 0": removeBody([[0, 0]]),
  "length 2^64 - 1": removeBody([[0, ALL_ONES]]),
  "length 2^63": removeBody([[0, TWO_POW_63]]),
  "an offset and a length that wrap around": removeBody([[-4096n, 2 * PAGE]]),
  "offset 2^63": removeBody([[TWO_POW_63, PAGE]]),
  "the window's end": removeBody([[WINDOW, PAGE]]),
  "beyond the window's end": removeBody([[WINDOW - PAGE, 2 * PAGE]]),
  "a good range before one that is out of the window": removeBody([[0, RANGE], [WINDOW, PAGE]]),
};

for (const [what, body] of Object.entries(REMOVE_REFUSALS)) {
  daxTest(always, `DAX REMOVEMAPPING: ${what} is an error`, ({ dax, tree }) => {
    const nodeid = taggedFile({ dax, tree }, "f", RANGE);
    dax.map(nodeid, 0, 0, RANGE);
    dax.map(nodeid, WINDOW - RANGE, 0, RANGE);
    assertUntouched(dax, () => {
      assert.ok(dax.fuse.call(OP.REMOVEMAPPING, 0n, body).error < 0, "it succeeded");
    }, what);
    assert.equal(dax.remove([0, RANGE], [WINDOW - RANGE, RANGE]).error, 0);
    assert.deepEqual(dax.window.record(), []);
  });
}

daxTest(large, "DAX: a front end that counts mappings gets no more than 256", ({ dax, tree }) => {
  assert.equal(dax.window.size, 512 * MIB);
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  let refused = 0;
  for (let i = 0; i < 300; i += 1) {
    const { error } = dax.setup(nodeid, { offset: 2 * i * PAGE, length: PAGE });
    if (error < 0) refused += 1;
    assert.ok(dax.window.mapped.size <= 256);
  }
  assert.equal(refused, 44);
  assert.equal(dax.remove([0, PAGE]).error, 0);
  dax.map(nodeid, 0, 0, RANGE);
  // Splitting one makes two.
  const before = dax.window.mapped.size;
  for (let i = 0; i < 300; i += 1) {
    dax.setup(nodeid, { offset: 512 * MIB - (i + 1) * RANGE, length: RANGE });
  }
  assert.ok(before <= 256);
  for (let i = 0; i < 64; i += 1) {
    dax.remove([512 * MIB - (i + 1) * RANGE + PAGE, PAGE]);
    assert.ok(dax.window.mapped.size <= 256, `${dax.window.mapped.size} mappings`);
  }
  assert.deepEqual(dax.window.refusals, []);
}, { protocolFeatures: DAX_PROTOCOL | mask(PROTOCOL.CONFIGURE_MEM_SLOTS) });

// --- read-only shares ------------------------------------------------------------------------

daxTest(readonly, "DAX: nothing of a read-only share is mapped writable", ({ dax, tree }) => {
  dax.window.rules.mapsReadOnly = true;
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  // What the front end can map is found out at INIT.
  dax.fuse.init(DAX_INIT);
  const again = dax.fuse.lookup(ROOT, "f");
  assert.equal(again.nodeid, nodeid);
  assert.equal(again.attr.flags & ATTR_DAX, ATTR_DAX);
  for (const flags of [MAP_FLAG.WRITE, MAP_FLAG.READ | MAP_FLAG.WRITE]) {
    assertUntouched(dax, () => assert.ok(dax.setup(nodeid, { flags }).error < 0), `flags ${flags}`);
  }
  assert.equal(dax.setup(nodeid, { flags: MAP_FLAG.READ }).error, 0);
  const [mapped] = dax.window.mapped.values();
  assert.equal(mapped!.writable, false);
  assert.deepEqual(tagAt(dax, PAGE), [1, 1]);
  assertUntouched(dax, () => assert.ok(dax.setup(nodeid, {}).error < 0), "upgrade");
});

daxTest(readonly, "DAX: of a read-only share with a strict front end nothing", ({ dax, tree }) => {
  tree.file("f", tagged(RANGE, 1));
  const { nodeid, attr } = dax.fuse.lookup(ROOT, "f");
  assert.equal(attr.flags & ATTR_DAX, 0);
  assert.ok(dax.setup(nodeid, { flags: MAP_FLAG.READ }).error < 0);
  assert.deepEqual(dax.window.record(), []);
  const fh = dax.fuse.open(nodeid);
  assert.equal(dax.fuse.read(nodeid, fh, 0n, PAGE).length, PAGE);
});

daxTest(readonly, "DAX: INIT waits for what the front end can map", ({ dax, tree }) => {
  tree.file("f", tagged(RANGE, 1));
  dax.window.rules.mapsReadOnly = true;
  dax.window.refusals.length = 0;
  let asked = 0;
  dax.window.rules.before = () => {
    asked += 1;
    if (asked === 1) dax.guest.frontend.setMemTable(dax.guest.regions);
    return true;
  };
  const { flags } = dax.fuse.init(DAX_INIT);
  assert.equal(flags & mask(INIT.MAP_ALIGNMENT), mask(INIT.MAP_ALIGNMENT));
  assert.ok(asked >= 2, `${asked} requests: something was mapped and removed`);
  assert.deepEqual(dax.window.record(), []);
  assert.deepEqual(dax.window.refusals, []);
  dax.window.rules.before = null;
  const { nodeid } = dax.fuse.lookup(ROOT, "f");
  assert.equal(dax.setup(nodeid, { flags: MAP_FLAG.READ }).error, 0);
});

// --- the end of a session --------------------------------------------------------------------

/** Maps some pieces, does what ends the session, and finds the window empty and usable. */
function sessionEnds(what: string, end: (scene: DaxScene) => void): void {
  daxTest(always, `DAX: ${what} empties the window`, (scene) => {
    const { dax } = scene;
    const nodeid = taggedFile(scene, "f", 2 * RANGE);
    dax.map(nodeid, 0, 0, RANGE);
    dax.map(nodeid, 3 * RANGE, RANGE, RANGE);
    dax.map(nodeid, 5 * RANGE, 0, PAGE);
    end(scene);
    assert.deepEqual(dax.window.record(), []);
    assert.deepEqual(dax.window.refusals, []);
    const again = dax.fuse.lookup(ROOT, "f");
    assert.equal(again.attr.flags & ATTR_DAX, ATTR_DAX);
    dax.map(again.nodeid, 0, 0, RANGE);
    assert.deepEqual(tagAt(dax, PAGE), [1, 1]);
  });
}

sessionEnds("DESTROY", ({ dax }) => {
  dax.fuse.ok(OP.DESTROY, 0n);
  assert.deepEqual(dax.window.record(), [], "before the next INIT");
  dax.fuse.init(DAX_INIT);
});

sessionEnds("a second INIT", ({ dax }) => void dax.fuse.init(DAX_INIT));

/** A driver begins anew after a reset. */
function restart({ frontend, queues }: Guest): void {
  frontend.set(REQUEST.SET_FEATURES, words(frontend.features));
  queues.forEach((queue, index) => {
    queue.startAt(0);
    setUpRing(frontend, index, queue);
  });
  queues.forEach((_, index) => frontend.enable(index, true));
}

sessionEnds("RESET_DEVICE and INIT", ({ dax: { guest, fuse } }) => {
  guest.frontend.set(REQUEST.RESET_DEVICE, new Uint8Array(0));
  restart(guest);
  fuse.init(DAX_INIT);
});

for (const [what, at] of Object.entries(SHMEM)) {
  sessionEnds(`RESET_DEVICE inside of SHMEM_${what} and INIT`, ({ dax }) => {
    const { guest, fuse, window } = dax;
    const { nodeid } = fuse.lookup(ROOT, "f");
    window.rules.before = ({ request }) => {
      if (request !== at) return true;
      window.rules.before = null;
      guest.frontend.set(REQUEST.RESET_DEVICE, new Uint8Array(0));
      return true;
    };
    const body = setupBody({ offset: PAGE, fileOffset: RANGE, length: PAGE });
    const { error } = fuse.call(OP.SETUPMAPPING, nodeid, body, { room: 0 });
    assert.ok(error < 0, "it was given up");
    assert.equal(window.rules.before, null, "the device was reset meanwhile");
    restart(guest);
    fuse.init(DAX_INIT);
  });
}

/** What a daemon has open. */
function openPaths(daemon: Daemon): string[] {
  const folder = `/proc/${daemon.pid}/fd`;
  return [...Deno.readDirSync(folder)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`${folder}/${name}`);
    } catch {
      return "closed meanwhile";
    }
  });
}

function descriptorCount(daemon: Daemon): number {
  return [...Deno.readDirSync(`/proc/${daemon.pid}/fd`)].length;
}

bareTest(always, "DAX: a disconnect leaves nothing behind", async ({ daemon, tree }) => {
  tree.file("f", tagged(2 * RANGE, 1));
  tree.file("g", tagged(2 * RANGE, 2));
  let before = 0;
  for (let round = 0; round < 6; round += 1) {
    {
      using dax = DaxGuest.connect(daemon.socketPath);
      assert.deepEqual(dax.window.record(), [], "the next front end starts clean");
      for (const name of ["f", "g"]) {
        const { nodeid } = dax.fuse.lookup(ROOT, name);
        for (let i = 0; i < 6; i += 1) dax.map(nodeid, i * RANGE, (i % 2) * RANGE, RANGE);
        assert.equal(dax.remove([PAGE, PAGE]).error, 0);
      }
      assert.deepEqual(dax.window.refusals, []);
    }
    // The next one is served when the last one is done with; the first made the views' mount.
    const frontend = Guest.connect(daemon.socketPath);
    const count = descriptorCount(daemon);
    frontend[Symbol.dispose]();
    if (round === 0) before = count;
    assert.ok(count <= before, `${count} descriptors after ${round} rounds, ${before} at first`);
  }
  assert.ok(await daemon.isRunning());
});

bareTest(always, "DAX: hanging up in the midst of a mapping", async ({ daemon, tree }) => {
  tree.file("f", tagged(2 * RANGE, 1));
  let before = 0;
  for (let round = 0; round < 6; round += 1) {
    {
      using dax = DaxGuest.connect(daemon.socketPath);
      const { nodeid } = dax.fuse.lookup(ROOT, "f");
      dax.map(nodeid, 0, 0, 2 * RANGE);
      const at = round % 2 === 0 ? SHMEM.MAP : SHMEM.UNMAP;
      let asked = false;
      dax.window.rules.before = ({ request }) => {
        asked ||= request === at;
        return request !== at;
      };
      // A replacement: UNMAP, and MAP three times.
      dax.fuse.submit(OP.SETUPMAPPING, nodeid, setupBody({ offset: RANGE / 2 }), { room: 0 });
      dax.fuse.queue.tryTake(200);
      assert.ok(asked, "it was asked");
    }
    using guest = Guest.connect(daemon.socketPath);
    guest.fuse.getattr(ROOT);
    const count = descriptorCount(daemon);
    if (round === 0) before = count;
    assert.ok(count <= before, `${count} descriptors after ${round} rounds, ${before} at first`);
  }
  assert.ok(await daemon.isRunning());
});

daxTest(always, "DAX: hanging up the channel alone is an errno", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 2 * RANGE);
  dax.map(nodeid, 0, 0, RANGE);
  dax.window.rules.before = () => {
    dax.window.hangUp();
    return false;
  };
  assert.ok(dax.setup(nodeid, { offset: RANGE }).error < 0);
  assert.ok(dax.setup(nodeid, { offset: RANGE }).error < 0);
  const fh = dax.fuse.open(nodeid);
  assert.equal(dax.fuse.read(nodeid, fh, 0n, PAGE).length, PAGE);
});

// --- front ends that have something else to do -------------------------------------------------

const SLOTS = { protocolFeatures: DAX_PROTOCOL | mask(PROTOCOL.CONFIGURE_MEM_SLOTS) };

daxTest(always, "DAX: ADD_MEM_REG inside of SHMEM_MAP, as QEMU does", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 4 * RANGE);
  const regions: GuestRegion[] = [];
  dax.window.rules.before = ({ request }) => {
    if (request === SHMEM.MAP) {
      const region = new GuestRegion(0x200_0000_0000 + regions.length * MIB, MIB);
      regions.push(region);
      dax.guest.frontend.addMemReg(region);
    } else dax.guest.frontend.remMemReg(regions[0]!);
    return true;
  };
  for (let i = 0; i < 4; i += 1) dax.map(nodeid, i * RANGE, i * RANGE, RANGE);
  assert.equal(regions.length, 4);
  assert.equal(dax.remove([0, RANGE]).error, 0);
  assert.deepEqual(dax.window.refusals, []);
  assert.deepEqual(tagAt(dax, 3 * RANGE), [1, 3 * RANGE / PAGE]);
  for (const region of regions) region.dispose();
}, SLOTS);

daxTest(always, "DAX: what is mapped comes back as memory of the guest, as from QEMU", ({
  dax,
  tree,
}) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  const payload = words(0n, 0x200_0000_0000n, BigInt(RANGE), 0x7000_0000_0000n, 0n);
  dax.window.rules.before = ({ request }, fd) => {
    const { frontend } = dax.guest;
    if (request === SHMEM.MAP) frontend.set(REQUEST.ADD_MEM_REG, payload, [fd]);
    else frontend.set(REQUEST.REM_MEM_REG, payload);
    return true;
  };
  for (let round = 0; round < 3; round += 1) {
    dax.map(nodeid, 0, 0, RANGE);
    assert.equal(dax.remove([0, RANGE]).error, 0);
  }
  assert.deepEqual(dax.window.refusals, []);
}, SLOTS);

daxTest(always, "DAX: the queue of the request is stopped inside of SHMEM_MAP", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  const { frontend, queues } = dax.guest;
  const queue = queues[1]!;
  const { fuse } = dax;
  const published = queue.availIndex + 1;
  let stoppedAt = -1;
  dax.window.rules.before = () => {
    dax.window.rules.before = null;
    stoppedAt = frontend.getVringBase(1);
    return true;
  };
  const pending = fuse.submit(OP.SETUPMAPPING, nodeid, setupBody({}), { room: 0 });
  // The answer of the daemon to the front end cannot wait for the mapping, so the mapping does not happen. (Linux asks again after EAGAIN.)
  assert.equal(fuse.wait(pending).error, -errno.EAGAIN);
  assert.equal(stoppedAt, published, "the ring was stopped, and nothing is owed");
  frontend.set(REQUEST.SET_VRING_BASE, words(1, stoppedAt));
  frontend.set(REQUEST.SET_VRING_KICK, words(1n), [queue.kickFd]);
  frontend.set(REQUEST.SET_VRING_CALL, words(1n), [queue.callFd]);
  queue.kickAlways();
  dax.map(nodeid, 0, 0, RANGE);
  assert.equal(dax.window.mapped.size, 1);
  assert.deepEqual(tagAt(dax, PAGE), [1, 1]);
  assert.deepEqual(dax.window.refusals, []);
});

daxTest(always, "DAX: another queue is stopped inside of SHMEM_MAP", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.window.rules.before = () => {
    dax.window.rules.before = null;
    assert.equal(dax.guest.frontend.getVringBase(0), 0);
    return true;
  };
  dax.map(nodeid, 0, 0, RANGE);
  assert.equal(dax.window.mapped.size, 1);
});

daxTest(
  always,
  "DAX: a front end that refuses is an errno, and the rest stays",
  ({ dax, tree }) => {
    const one = taggedFile({ dax, tree }, "f", RANGE, 1);
    const two = taggedFile({ dax, tree }, "g", RANGE, 2);
    dax.map(one, 0, 0, RANGE);
    dax.map(one, RANGE, 0, RANGE);
    const [untouched] = dax.window.record();
    dax.window.rules.refuses = ({ request, offset }) => request === SHMEM.MAP && offset >= RANGE;
    assert.ok(dax.setup(two, { offset: 2 * RANGE }).error < 0);
    assert.equal(dax.window.mapped.size, 2, "nothing was there and nothing is");
    assert.ok(dax.setup(two, { offset: RANGE }).error < 0);
    assert.equal(dax.window.record()[0], untouched);
    dax.window.rules.refuses = null;
    dax.window.refusals.length = 0;
    assert.equal(dax.remove([RANGE, 2 * RANGE]).error, 0);
    dax.map(two, RANGE, 0, RANGE);
    assert.deepEqual(tagAt(dax, RANGE), [2, 0]);
    assert.deepEqual(dax.window.refusals, [], "what was refused is not unmapped");
  },
);

daxTest(always, "DAX: an answer that is none ends the window, not the session", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", RANGE);
  dax.window.rules.before = () => {
    dax.window.answer(99, 0n);
    return false;
  };
  assert.ok(dax.setup(nodeid, {}).error < 0);
  const fh = dax.fuse.open(nodeid);
  assert.equal(dax.fuse.read(nodeid, fh, 0n, PAGE).length, PAGE);
});

daxTest(always, "DAX: a front end that refuses what is left of a mapping", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 4 * RANGE);
  for (const refused of [0, 2 * RANGE]) {
    dax.map(nodeid, 0, 0, 3 * RANGE);
    dax.window.rules.refuses = ({ request, offset }) => request === SHMEM.MAP && offset === refused;
    dax.setup(nodeid, { offset: RANGE, fileOffset: 3 * RANGE });
    dax.window.rules.refuses = null;
    dax.window.refusals.length = 0;
    // Whatever came of it, both sides agree on what is there.
    assert.equal(dax.remove([0, WINDOW]).error, 0);
    assert.deepEqual(dax.window.record(), []);
    assert.deepEqual(dax.window.refusals, []);
  }
});

bareTest(always, "DAX: SIGTERM while the front end does not answer", async () => {
  for (const at of [SHMEM.MAP, SHMEM.UNMAP]) {
    using tree = new TempTree();
    tree.file("f", tagged(RANGE, 1));
    await using daemon = await Daemon.start({ sharedDir: tree.root, args: WINDOW_ARGS });
    using dax = DaxGuest.connect(daemon.socketPath);
    const { nodeid } = dax.fuse.lookup(ROOT, "f");
    dax.map(nodeid, 0, 0, RANGE);
    dax.window.rules.before = ({ request }) => request !== at;
    const body = setupBody({ fileOffset: PAGE });
    dax.fuse.submit(OP.SETUPMAPPING, nodeid, body, { room: 0 });
    assert.equal(dax.fuse.queue.tryTake(100), null);
    daemon.signal("SIGTERM");
    await daemon.exitCode();
  }
});

// --- several queues --------------------------------------------------------------------------

/** Posts SETUPMAPPINGs to both queues before it waits for any. */
function mapAtOnce(
  clients: readonly FuseClient[],
  perQueue: number,
  request: (queue: number, index: number) => [nodeid: bigint, fields: SetupFields],
): number[] {
  const pending: [FuseClient, Pending][] = clients.flatMap((client, queue) =>
    Array.from({ length: perQueue }, (_, index): [FuseClient, Pending] => {
      const [nodeid, fields] = request(queue, index);
      return [client, client.add(OP.SETUPMAPPING, nodeid, setupBody(fields), { room: 0 })];
    })
  );
  for (const client of clients) client.queue.publish();
  return pending.map(([client, one]) => client.wait(one).error);
}

daxTest(twoQueues, "DAX: two queues map at once, each its own half", ({ dax, tree }) => {
  const files = [1, 2].map((file) => taggedFile({ dax, tree }, `f${file}`, 4 * RANGE, file));
  for (let round = 0; round < 10; round += 1) {
    const errors = mapAtOnce(dax.guest.clients, 4, (queue, index) => [files[queue]!, {
      offset: (4 * queue + index) * RANGE,
      fileOffset: ((index + round) % 4) * RANGE,
    }]);
    assert.deepEqual(new Set(errors), new Set([0]));
    for (let range = 0; range < 8; range += 1) {
      const page = ((range % 4 + round) % 4) * RANGE / PAGE;
      assert.deepEqual(tagAt(dax, range * RANGE), [range < 4 ? 1 : 2, page]);
    }
    assert.deepEqual(dax.window.refusals, []);
  }
}, { requestQueues: 2 });

daxTest(twoQueues, "DAX: two queues map over each other", ({ dax, tree }) => {
  const files = [1, 2].map((file) => taggedFile({ dax, tree }, `f${file}`, 4 * RANGE, file));
  const seed = seedOf();
  const random = randomNumbers(seed);
  for (let round = 0; round < 20; round += 1) {
    const errors = mapAtOnce(dax.guest.clients, 16, (queue) => [files[queue]!, {
      offset: random(64) * PAGE,
      fileOffset: random(64) * PAGE,
      length: (1 + random(64)) * PAGE,
    }]);
    assert.deepEqual(new Set(errors), new Set([0]), `seed ${seed}, round ${round}`);
    assert.deepEqual(dax.window.refusals, [], `seed ${seed}, round ${round}`);
  }
  assert.equal(dax.remove([0, WINDOW]).error, 0);
  assert.deepEqual(dax.window.record(), []);
}, { requestQueues: 2 });

daxTest(twoQueues, "DAX: DESTROY and INIT on one queue while another maps", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 4 * RANGE);
  const [one, other] = dax.guest.clients as [FuseClient, FuseClient];
  for (let round = 0; round < 10; round += 1) {
    const pending = Array.from(
      { length: 8 },
      (_, index) =>
        other.add(OP.SETUPMAPPING, nodeid, setupBody({ offset: index * RANGE, length: PAGE }), {
          room: 0,
        }),
    );
    other.queue.publish();
    one.ok(OP.DESTROY, 0n);
    for (const request of pending) other.wait(request);
    one.init(DAX_INIT);
    assert.deepEqual(dax.window.record(), []);
    assert.deepEqual(dax.window.refusals, []);
    assert.equal(dax.fuse.lookup(ROOT, "f").nodeid, nodeid);
    dax.map(nodeid, 0, 0, RANGE);
  }
}, { requestQueues: 2 });

daxTest(
  always,
  "DAX: files are forgotten on hiprio while they are mapped",
  ({ dax, tree, daemon }) => {
    for (let i = 0; i < 8; i += 1) tree.file(`f${i}`, tagged(RANGE, i));
    for (let round = 0; round < 40; round += 1) {
      const nodes = Array.from({ length: 8 }, (_, i) => dax.fuse.lookup(ROOT, `f${i}`).nodeid);
      const pending = nodes.map((nodeid, i) =>
        dax.fuse.add(OP.SETUPMAPPING, nodeid, setupBody({ offset: (i * 3 % 8) * RANGE }), {
          room: 0,
        })
      );
      dax.fuse.queue.publish();
      for (const nodeid of nodes) dax.guest.forget(nodeid);
      for (const request of pending) {
        const { error } = dax.fuse.wait(request);
        assert.ok(error === 0 || error === -errno.ESTALE, `error ${error}`);
      }
      assert.deepEqual(dax.window.refusals, []);
    }
    assert.equal(dax.remove([0, WINDOW]).error, 0);
    assert.deepEqual(dax.window.record(), []);
    const left = openPaths(daemon).filter((path) => path.startsWith(`${tree.root}/`));
    assert.deepEqual(left, [], "nothing keeps the files open");
  },
);

bareTest(always, "DAX: descriptors are used up", async () => {
  using tree = new TempTree();
  for (let i = 0; i < 400; i += 1) tree.file(`f${i}`, tagged(PAGE, i));
  const options = { sharedDir: tree.root, args: ["--dax", "always", ...WINDOW_ARGS] };
  await using daemon = await Daemon.start({ ...options, descriptorLimit: 256 });
  using dax = DaxGuest.connect(daemon.socketPath);
  const mapped: bigint[] = [];
  for (let i = 0; i < 400; i += 1) {
    const { error, body } = dax.fuse.call(OP.LOOKUP, ROOT, name(`f${i}`), { room: 128 });
    if (error < 0) {
      assert.equal(error, -errno.ENFILE);
      continue;
    }
    const { nodeid } = readEntry(body);
    const before = dax.window.record();
    const result = dax.setup(nodeid, { offset: i * PAGE, length: PAGE }).error;
    if (result === 0) mapped.push(nodeid);
    else assert.deepEqual([result, dax.window.record()], [-errno.ENFILE, before]);
  }
  assert.ok(mapped.length > 20 && mapped.length < 256, `${mapped.length} files`);
  assert.equal(dax.remove([0, WINDOW]).error, 0);
  assert.deepEqual(dax.window.record(), []);
  for (const nodeid of mapped) dax.map(nodeid, 0, 0, PAGE);
  assert.deepEqual(dax.window.refusals, []);
});

// --- which files -----------------------------------------------------------------------------

/** FUSE_ATTR_DAX of a file in LOOKUP and GETATTR, which agree. */
function isDax(fuse: FuseClient, name: string): boolean {
  const { nodeid, attr } = fuse.lookup(ROOT, name);
  const flag = attr.flags & ATTR_DAX;
  assert.equal(fuse.getattr(nodeid).flags & ATTR_DAX, flag, `${name}: LOOKUP and GETATTR`);
  return flag !== 0;
}

/** Files of all kinds. */
function kinds(tree: TempTree): void {
  tree.file("empty");
  tree.file("small", new Uint8Array(MIB - 1));
  tree.file("enough", new Uint8Array(MIB));
  tree.file("program", new Uint8Array(2 * MIB));
  Deno.chmodSync(tree.path("program"), 0o755);
  tree.file("window", new Uint8Array(0));
  Deno.truncateSync(tree.path("window"), WINDOW);
  tree.file("larger", new Uint8Array(0));
  Deno.truncateSync(tree.path("larger"), WINDOW + 1);
  tree.directory("directory");
  Deno.symlinkSync("enough", tree.path("link"));
}

const NAMES = ["empty", "small", "enough", "program", "window", "larger", "directory", "link"];

daxTest(always, "DAX: always marks all regular files", ({ dax, tree }) => {
  kinds(tree);
  const marked = NAMES.filter((name) => isDax(dax.fuse, name));
  assert.deepEqual(marked, ["empty", "small", "enough", "program", "window", "larger"]);
});

daxTest(automatic, "DAX: auto marks what is large enough, fits, and is no program", ({
  dax,
  tree,
}) => {
  kinds(tree);
  assert.deepEqual(NAMES.filter((name) => isDax(dax.fuse, name)), ["enough", "window"]);
});

daxTest(always, "DAX: nothing is marked for a guest without per-inode DAX", ({ dax, tree }) => {
  kinds(tree);
  assert.deepEqual(NAMES.filter((name) => isDax(dax.fuse, name)), []);
  // Such a guest maps everything.
  const { nodeid } = dax.fuse.lookup(ROOT, "enough");
  dax.map(nodeid, 0, 0, RANGE);
}, { initFlags: DAX_INIT & ~mask(INIT.HAS_INODE_DAX) });

daxTest(demoting, "DAX: auto demotes a file that is mapped at random again and again", ({
  dax,
  tree,
}) => {
  const nodeid = taggedFile({ dax, tree }, "f", 8 * RANGE);
  assert.ok(isDax(dax.fuse, "f"));
  for (let i = 0; i < 400; i += 1) {
    // As in a window that is too small: each takes the place of the one before.
    dax.map(nodeid, 0, ((i * 5) % 8) * RANGE, RANGE);
  }
  assert.equal(isDax(dax.fuse, "f"), false);
  // A guest that maps it all the same can do so.
  dax.map(nodeid, 0, 0, RANGE);
});

daxTest(automatic, "DAX: auto does not demote a file that is mapped in order", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 8 * RANGE);
  assert.ok(isDax(dax.fuse, "f"));
  // Each time it begins again is a jump, and of those many are free.
  for (let i = 0; i < 400; i += 1) dax.map(nodeid, 0, (i % 8) * RANGE, RANGE);
  assert.ok(isDax(dax.fuse, "f"));
});

daxTest(always, "DAX: always demotes nothing", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 8 * RANGE);
  for (let i = 0; i < 400; i += 1) dax.map(nodeid, 0, ((i * 5) % 8) * RANGE, RANGE);
  assert.ok(isDax(dax.fuse, "f"));
});

daxTest(demoting, "DAX: a demotion is not that of a later file", ({ dax, tree }) => {
  const nodeid = taggedFile({ dax, tree }, "f", 8 * RANGE);
  for (let i = 0; i < 400; i += 1) dax.map(nodeid, 0, ((i * 5) % 8) * RANGE, RANGE);
  assert.equal(isDax(dax.fuse, "f"), false);
  assert.equal(dax.remove([0, WINDOW]).error, 0);
  dax.guest.forget(nodeid, 3n);
  // Some file systems give the inode number to the next file at once.
  for (let i = 0; i < 20; i += 1) {
    Deno.removeSync(tree.path("f"));
    tree.file("f", tagged(8 * RANGE, i));
    assert.ok(isDax(dax.fuse, "f"), `file ${i}`);
  }
});

bareTest(automatic, "DAX: a daemon with a window ends as any other", async () => {
  using tree = new TempTree();
  tree.file("f", tagged(RANGE, 1));
  await using daemon = await Daemon.start({ sharedDir: tree.root, args: WINDOW_ARGS });
  {
    using dax = DaxGuest.connect(daemon.socketPath);
    dax.map(dax.fuse.lookup(ROOT, "f").nodeid, 0, 0, RANGE);
  }
  assert.equal(await daemon.exitCode(), 0);
});
