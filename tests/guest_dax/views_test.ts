import { equal, ok, throws } from "node:assert/strict";
import { type DaxView, GuestError } from "../../mod.ts";
import { pattern, same, ServedWindow } from "./served_window.ts";

const MIB = 1024 * 1024;
const WINDOW = ["--dax", "always", "--dax-window", "8M"];

function fails(act: () => unknown, code: string): void {
  throws(act, (error) => error instanceof GuestError && error.code === code);
}

Deno.test("GuestFile.viewSync: the file's bytes, up to the end of file or range", async () => {
  await using share = new ServedWindow(...WINDOW);
  const bytes = pattern(3 * MIB + 100);
  Deno.writeFileSync(share.at("f"), bytes);
  const guest = await share.guest();
  using file = guest.openSync("/f", { read: true, write: true });
  using whole = file.viewSync(0, 10 * MIB);
  equal(whole.bytes.length, 2 * MIB);
  ok(same(whole.bytes, bytes.subarray(0, 2 * MIB)));
  using tail = file.viewSync(3 * MIB - 3, 1000, { write: true });
  equal(tail.bytes.length, 103);
  tail.bytes[0] = 1;
  equal(Deno.readFileSync(share.at("f"))[3 * MIB - 3], 1);
  equal(guest.dax!.views, 2);
  fails(() => file.viewSync(3 * MIB + 100, 1), "ENXIO");
  fails(() => file.viewSync(-1, 1), "EINVAL");
  using reading = guest.openSync("/f");
  fails(() => reading.viewSync(0, 1, { write: true }), "EACCES");
  using writing = guest.openSync("/f", { write: true });
  fails(() => writing.viewSync(0, 1), "EACCES");
});

Deno.test("GuestFile.viewSync: a view outlives the file's closing and ends when it is given up", async () => {
  await using share = new ServedWindow(...WINDOW);
  Deno.writeFileSync(share.at("f"), pattern(MIB));
  const guest = await share.guest({ inodeCountMax: 2 });
  let view: DaxView;
  {
    using file = guest.openSync("/f", { read: true, write: true });
    view = file.viewSync(0, 100, { write: true });
  }
  for (let i = 0; i < 10; i++) guest.writeFileSync(`/other${i}`, pattern(10));
  const { bytes } = view;
  bytes[0] = 200;
  equal(Deno.readFileSync(share.at("f"))[0], 200);
  view[Symbol.dispose]();
  equal(bytes.length, 0);
  ok(view.ended !== null);
  equal(guest.dax!.views, 0);
  view[Symbol.dispose]();
});

Deno.test("GuestFile.viewSync: truncating the file ends views that reach further, and closing the guest all", async () => {
  await using share = new ServedWindow(...WINDOW);
  Deno.writeFileSync(share.at("f"), pattern(4 * MIB));
  const guest = await share.guest();
  const file = guest.openSync("/f", { read: true, write: true });
  const low = file.viewSync(0, 4096);
  const high = file.viewSync(3 * MIB, 4096);
  const { bytes } = high;
  guest.truncateSync("/f", 3 * MIB + 100);
  equal(bytes.length, 0);
  equal(high.ended, "the file was truncated");
  equal(low.bytes.length, 4096);
  guest.openSync("/f", { write: true, truncate: true }).close();
  equal(low.bytes.length, 0);
  Deno.writeFileSync(share.at("f"), pattern(4 * MIB));
  guest.statSync("/f");
  const last = file.viewSync(0, 4096);
  equal(last.bytes[1], pattern(2)[1]);
  await guest.close();
  equal(last.bytes.length, 0);
  equal(last.ended, "the guest was closed");
});

Deno.test("GuestFile.view: waits for a range, and reads go on meanwhile as requests", async () => {
  await using share = new ServedWindow(...WINDOW);
  const bytes = pattern(16 * MIB);
  Deno.writeFileSync(share.at("f"), bytes);
  const guest = await share.guest();
  using file = guest.openSync("/f");
  const held = [0, 1, 2, 3].map((i) => file.viewSync(i * 2 * MIB, 10));
  fails(() => file.viewSync(8 * MIB, 10), "EAGAIN");
  const into = new Uint8Array(10);
  equal(file.readAtSync(into, 9 * MIB), 10);
  ok(same(into, bytes.subarray(9 * MIB, 9 * MIB + 10)));
  ok(guest.dax!.fallbacks > 0);
  const order: number[] = [];
  const waiting = [4, 5].map(async (i) => {
    const view = await file.view(i * 2 * MIB, 10);
    order.push(i);
    ok(same(view.bytes, bytes.subarray(i * 2 * MIB, i * 2 * MIB + 10)));
    return view;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  equal(order.length, 0);
  held[2]![Symbol.dispose]();
  await waiting[0];
  equal(order.join(), "4");
  held[0]![Symbol.dispose]();
  await waiting[1];
  for (const view of await Promise.all(waiting)) view[Symbol.dispose]();
});

Deno.test("GuestFile.viewSync: files that are not mapped have none", async () => {
  await using share = new ServedWindow(...WINDOW);
  Deno.writeFileSync(share.at("f"), pattern(100));
  const guest = await share.guest({ dax: "never" });
  using file = guest.openSync("/f");
  fails(() => file.viewSync(0, 10), "ENODEV");
});
