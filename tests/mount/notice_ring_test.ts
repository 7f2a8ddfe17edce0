import { deepEqual, equal } from "node:assert/strict";
import { NoticeRing } from "../../src/mount/notice_ring.ts";
import { Notices } from "../../src/mount/notices.ts";

function u64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

Deno.test("notices are fuse.h's", () => {
  const ring = new NoticeRing(NoticeRing.makeBuffer());
  const notices = new Notices(ring);
  notices.inode(2 ** 33 + 5);
  notices.attributes(7);
  notices.entry(9, "n\u00ff");
  equal(notices.flush(), false);
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  // fuse_out_header: len, error (the code), unique 0; fuse_notify_inval_inode_out: ino, off, len
  equal(ring.take(bytes), 40);
  deepEqual([view.getUint32(0, true), view.getInt32(4, true), u64(view, 8)], [40, 2, 0]);
  deepEqual([u64(view, 16), view.getBigInt64(24, true), u64(view, 32)], [2 ** 33 + 5, 0n, 0]);
  equal(ring.take(bytes), 40);
  deepEqual([u64(view, 16), view.getBigInt64(24, true)], [7, -1n]);
  // fuse_notify_inval_entry_out: parent, namelen, flags (FUSE_EXPIRE_ONLY); the name, NUL
  equal(ring.take(bytes), 16 + 16 + 3);
  deepEqual([view.getUint32(0, true), view.getInt32(4, true), u64(view, 8)], [35, 3, 0]);
  deepEqual([u64(view, 16), view.getUint32(24, true), view.getUint32(28, true)], [9, 2, 1]);
  deepEqual([...bytes.slice(32, 35)], [110, 255, 0]);
  equal(ring.take(bytes), 0);
});

Deno.test("notices: a full ring makes them wait, in order, and none is lost", () => {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`replay: SEED=${seed} deno test -A tests/mount/notice_ring_test.ts`);
  let state = seed;
  const random = (end: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % end;
  };
  const ring = new NoticeRing(NoticeRing.makeBuffer());
  const notices = new Notices(ring);
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  let sent = 0;
  let got = 0;
  let waited = false;
  while (got < 50_000) {
    const fill = random(2) === 0;
    for (let i = random(3000); i > 0 && fill && sent < 50_000; i--) {
      notices.entry(++sent, "x".repeat(random(255)));
    }
    if (notices.flush()) waited = true;
    for (let i = random(3000); i > 0; i--) {
      if (ring.take(bytes) === 0) break;
      equal(u64(view, 16), ++got);
    }
  }
  equal(sent, got);
  equal(waited, true, "the ring was full at times");
});

Deno.test("the ring's end is seen after what was put before", () => {
  const ring = new NoticeRing(NoticeRing.makeBuffer());
  ring.put(new Uint8Array([1, 2, 3, 4, 5]), 5);
  equal(ring.wait(), true);
  const into = new Uint8Array(8);
  equal(ring.take(into), 5);
  deepEqual([...into.slice(0, 5)], [1, 2, 3, 4, 5]);
  ring.end();
  equal(ring.wait(), false);
});
