import assert from "node:assert/strict";
import { Daemon, isRustPeer } from "../support/daemon.ts";
import { readBody, ROOT } from "../support/fuse_client.ts";
import { OP, S } from "../support/fuse_wire.ts";
import { Guest } from "../support/guest.ts";
import { makeNode } from "../support/libc.ts";
import { name, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import { TempTree } from "../support/temp_tree.ts";

const served = new ServedTree();
const visible = (entry: { name: string }) => entry.name !== "." && entry.name !== "..";

for (const plus of [false, true]) {
  const what = plus ? "READDIRPLUS" : "READDIR";

  served.test(`FUSE ${what}: an empty directory`, ({ guest }) => {
    const fh = guest.fuse.opendir(ROOT);
    assert.deepEqual(guest.fuse.readdirAll(ROOT, fh, { plus }).filter(visible), []);
    guest.fuse.release(ROOT, fh, OP.RELEASEDIR);
  });

  for (const size of [512, 4096, 131_072]) {
    served.test(`FUSE ${what}: 2,000 names in buffers of ${size}, each once`, ({ guest, tree }) => {
      const expected: string[] = [];
      for (let index = 0; index < 2000; index += 1) {
        const entry = `${index}-${"x".repeat(index % 200)}`;
        expected.push(entry);
        tree.file(entry);
      }
      const fh = guest.fuse.opendir(ROOT);
      const found = guest.fuse.readdirAll(ROOT, fh, { plus, size }).filter(visible);
      assert.deepEqual(found.map((entry) => entry.name).sort(), expected.sort());
      guest.fuse.release(ROOT, fh, OP.RELEASEDIR);
    });
  }

  served.test(`FUSE ${what}: types and inode numbers`, ({ guest, tree }) => {
    tree.file("file");
    tree.directory("dir");
    Deno.symlinkSync("x", tree.path("link"));
    makeNode(tree.path("fifo"), S.IFIFO | 0o600);
    const fh = guest.fuse.opendir(ROOT);
    const types = { file: 8, dir: 4, link: 10, fifo: 1 };
    const found = guest.fuse.readdirAll(ROOT, fh, { plus }).filter(visible);
    for (const [entry, type] of Object.entries(types)) {
      const record = found.find((candidate) => candidate.name === entry)!;
      assert.equal(record.type, type, entry);
      assert.equal(record.ino, BigInt(Deno.lstatSync(tree.path(entry)).ino!), entry);
    }
  });

  served.test(`FUSE ${what}: a cookie can be used again, and another handle starts anew`, ({ guest, tree }) => {
    for (let index = 0; index < 100; index += 1) tree.file(`name-${index}`);
    const { fuse } = guest;
    const fh = fuse.opendir(ROOT);
    const first = fuse.readdir(ROOT, fh, 0n, { plus });
    const rest = fuse.readdir(ROOT, fh, first.at(-1)!.off, { plus });
    fuse.readdirAll(ROOT, fh, { plus });
    const again = fuse.readdir(ROOT, fh, first.at(-1)!.off, { plus });
    assert.deepEqual(again.map((entry) => entry.name), rest.map((entry) => entry.name));
    assert.equal(fuse.readdir(ROOT, fh, 0n, { plus })[0]!.name, first[0]!.name, "rewound");
    const other = fuse.opendir(ROOT);
    assert.equal(fuse.readdir(ROOT, other, 0n, { plus })[0]!.name, first[0]!.name);
  });

  served.test(`FUSE ${what}: names removed while reading do not hide others`, ({ guest, tree }) => {
    for (let index = 0; index < 500; index += 1) tree.file(`n${index}`);
    const { fuse } = guest;
    const fh = fuse.opendir(ROOT);
    const seen = new Set<string>();
    let offset = 0n;
    for (;;) {
      const part = fuse.readdir(ROOT, fh, offset, { plus });
      if (part.length === 0) break;
      offset = part.at(-1)!.off;
      for (const entry of part.filter(visible)) {
        assert.ok(!seen.has(entry.name), `${entry.name} twice`);
        seen.add(entry.name);
        Deno.removeSync(tree.path(entry.name));
      }
    }
    assert.equal(seen.size, 500);
  });

  served.test(`FUSE ${what}: a buffer too small for one record`, ({ guest, tree }) => {
    tree.file("n".repeat(200));
    const fh = guest.fuse.opendir(ROOT);
    for (const size of [0, 1, 24, 100]) {
      const opcode = plus ? OP.READDIRPLUS : OP.READDIR;
      const reply = guest.fuse.call(opcode, ROOT, readBody(fh, 0n, size), { room: size });
      assert.ok(reply.error <= 0 && reply.body.length <= size);
    }
    assert.equal(guest.fuse.readdirAll(ROOT, fh, { plus }).filter(visible).length, 1);
  });

  served.test(`FUSE ${what}: cookies that were never given`, ({ guest, tree }) => {
    tree.file("f");
    const fh = guest.fuse.opendir(ROOT);
    const opcode = plus ? OP.READDIRPLUS : OP.READDIR;
    for (const cookie of [12345n, 1n << 62n, (1n << 63n) - 1n, 1n << 63n, 0xffff_ffff_ffff_ffffn]) {
      const reply = guest.fuse.call(opcode, ROOT, readBody(fh, cookie, 4096), { room: 4096 });
      assert.ok(reply.error <= 0);
    }
    assert.equal(guest.fuse.readdirAll(ROOT, fh, { plus }).filter(visible).length, 1);
  });
}

served.test("FUSE READDIRPLUS: each entry counts one lookup, '.' and '..' none", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const fh = fuse.opendir(ROOT);
  const found = fuse.readdirAll(ROOT, fh, { plus: true, size: 65_536 });
  const nodeid = found.find((entry) => entry.name === "f")!.entry!.nodeid;
  assert.ok(nodeid > 1n);
  assert.equal(fuse.lookup(ROOT, "f").nodeid, nodeid);
  guest.forget(nodeid, 1n);
  assert.equal(fuse.getattr(nodeid).size, 3n, "one of two is left");
  guest.forget(nodeid, 1n);
  assert.ok(fuse.fails(OP.GETATTR, nodeid, words(0, 0, 0n)) > 0, "none is left");
  for (const entry of found.filter((candidate) => !visible(candidate))) {
    assert.ok(entry.entry!.nodeid === 0n || entry.entry!.attr.mode >> 12 === 4, entry.name);
  }
});

served.test("FUSE READDIRPLUS: an entry that does not fit is not counted", ({ guest, tree }) => {
  for (let index = 0; index < 30; index += 1) tree.file(`file-${index}`);
  const { fuse } = guest;
  const fh = fuse.opendir(ROOT);
  const counts = new Map<bigint, number>();
  let offset = 0n;
  for (;;) {
    // Room for two records and a bit: one record of each reply is always left over.
    const part = fuse.readdir(ROOT, fh, offset, { plus: true, size: 400 });
    if (part.length === 0) break;
    offset = part.at(-1)!.off;
    for (const { entry } of part.filter(visible)) {
      counts.set(entry!.nodeid, (counts.get(entry!.nodeid) ?? 0) + 1);
    }
  }
  assert.equal(counts.size, 30);
  for (const [nodeid, count] of counts) {
    guest.forget(nodeid, BigInt(count));
    assert.ok(fuse.fails(OP.GETATTR, nodeid, words(0, 0, 0n)) > 0, "a lookup was counted twice");
  }
});

served.test("FUSE READDIRPLUS: attributes are those of the entries", ({ guest, tree }) => {
  tree.file("f", "0123456789");
  Deno.symlinkSync("target", tree.path("l"));
  const fh = guest.fuse.opendir(ROOT);
  const found = guest.fuse.readdirAll(ROOT, fh, { plus: true });
  assert.equal(found.find((entry) => entry.name === "f")!.entry!.attr.size, 10n);
  const link = found.find((entry) => entry.name === "l")!.entry!;
  assert.equal(link.attr.mode & S.IFMT, S.IFLNK);
});

served.test("FUSE READDIR: names that are not UTF-8", ({ guest }) => {
  const raw = new Uint8Array([0x66, 0xff, 0xc0, 0x6f]);
  const body = new Uint8Array([...words(0o755, 0), ...name(raw)]);
  guest.fuse.ok(OP.MKDIR, ROOT, body, { room: 128 });
  const fh = guest.fuse.opendir(ROOT);
  const bytes = guest.fuse.ok(OP.READDIR, ROOT, readBody(fh, 0n, 4096), { room: 4096 });
  const haystack = [...bytes].join(",");
  assert.ok(haystack.includes([...raw].join(",")), "the bytes come back as they are");
  guest.fuse.ok(OP.RMDIR, ROOT, name(raw));
});

Deno.test({
  name: "FUSE READDIRPLUS: at the descriptor limit no entry is dropped and nobody dies",
  ignore: isRustPeer,
  fn: async () => {
    using tree = new TempTree();
    const expected: string[] = [];
    for (let index = 0; index < 600; index += 1) {
      expected.push(`f${index}`);
      tree.file(`f${index}`);
    }
    // Enough for the process itself, not for 600 inodes held by descriptor.
    await using daemon = await Daemon.start({
      sharedDir: tree.root,
      descriptorLimit: 300,
      args: ["--rlimit-nofile", "0", "--inode-file-handles=never"],
    });
    using guest = Guest.connect(daemon.socketPath);
    const { fuse } = guest;
    const fh = fuse.opendir(ROOT);
    const names: string[] = [];
    let offset = 0n;
    let withNode = 0;
    for (let round = 0; round < 2000; round += 1) {
      const reply = fuse.call(OP.READDIRPLUS, ROOT, readBody(fh, offset, 4096), { room: 4096 });
      if (reply.error !== 0) {
        // An honest EMFILE is allowed only where nothing was skipped: the same cookie must go on
        // with READDIR, which needs no descriptor.
        assert.ok([-24, -23].includes(reply.error), `error ${reply.error}`);
        for (const entry of fuse.readdir(ROOT, fh, offset)) {
          names.push(entry.name);
          offset = entry.off;
        }
        if (names.filter((entry) => entry !== "." && entry !== "..").length === 600) break;
        continue;
      }
      if (reply.body.length === 0) break;
      const part = fuse.readdir(ROOT, fh, offset, { plus: true });
      for (const entry of part) {
        names.push(entry.name);
        if (visible(entry) && entry.entry!.nodeid !== 0n) withNode += 1;
        offset = entry.off;
      }
    }
    const found = names.filter((entry) => entry !== "." && entry !== "..");
    assert.deepEqual(found.sort(), expected.sort(), "every name once");
    assert.ok(withNode < 600, "the limit was reached, or this test shows nothing");
    const error = fuse.call(OP.LOOKUP, ROOT, name("f599"), { room: 128 }).error;
    assert.ok([0, -24, -23].includes(error), `LOOKUP at the limit: ${error}`);
    fuse.getattr(ROOT);
    assert.ok(await daemon.isRunning());
  },
});

Deno.test("--rlimit-nofile: sets the limit of the process, downwards too", async () => {
  using tree = new TempTree();
  await using daemon = await Daemon.start({
    sharedDir: tree.root,
    args: ["--rlimit-nofile", "700"],
  });
  const limits = Deno.readTextFileSync(`/proc/${daemon.pid}/limits`);
  assert.match(limits, /Max open files +700 /);
  using guest = Guest.connect(daemon.socketPath);
  guest.fuse.getattr(ROOT);
});
