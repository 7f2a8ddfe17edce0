import { equal, notEqual } from "node:assert/strict";
import { ViewMount } from "../../src/dax/view_mount.ts";
import { VIEW_SIZE, Views } from "../../src/dax/views.ts";
import { close, mapShared, memfd, open } from "../support/libc.ts";
import { ignoreWithoutViews } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";

const RANGE = 2 * 1024 * 1024;
const O_RDONLY = 0;
const O_RDWR = 2;
const O_PATH = 0o10000000;
const EACCES = 13;

/** A test with the private mount, which proves itself when it is opened. */
function viewTest(name: string, body: (views: Views, mount: ViewMount) => void): void {
  // The mount's Worker speaks through ops that outlast a test.
  const options = { ignore: ignoreWithoutViews(), sanitizeOps: false, sanitizeResources: false };
  Deno.test({ name, ...options }, async () => {
    const mount = await ViewMount.open();
    if (typeof mount === "string") throw new Error(mount);
    try {
      body(new Views(mount.rootFd), mount);
    } finally {
      await mount.close();
    }
  });
}

function sizeOf(fd: number): number {
  return Deno.statSync(`/proc/self/fd/${fd}`).size;
}

viewTest("a view is long and shows its file, which stays as short as it is", (views, mount) => {
  using tree = new TempTree();
  const path = tree.file("f", "hello");
  const file = open(path, O_RDWR);
  const view = views.open(file, true);
  equal(view >= 0, true, `${view}`);
  equal(sizeOf(view), VIEW_SIZE);
  equal(mount.contains(view), true);
  equal(mount.contains(file), false);
  // The view does not need it any more.
  close(file);
  const mapping = mapShared(view, RANGE);
  const bytes = new Uint8Array(mapping.buffer);
  equal(new TextDecoder().decode(bytes.slice(0, 5)), "hello");
  equal(bytes[5], 0);
  bytes[0] = 0x4a;
  equal(Deno.readTextFileSync(path), "Jello");
  Deno.writeTextFileSync(path, "Jello, world");
  equal(new TextDecoder().decode(bytes.slice(5, 12)), ", world");
  mapping.unmap();
  close(view);
});

viewTest("a view gives no more than its file's descriptor does", (views) => {
  using tree = new TempTree();
  const readable = open(tree.file("f", "hello"), O_RDONLY);
  equal(views.open(readable, true), -EACCES);
  const view = views.open(readable, false);
  equal(view >= 0, true, `${view}`);
  const path = open(tree.file("g", "hello"), O_PATH);
  equal(views.open(path, false) < 0, true);
  for (const fd of [view, readable, path]) close(fd);
});

viewTest("two views of one file are one memory", (views) => {
  const file = memfd("f", 4096);
  const fds = [views.open(file, true), views.open(file, true)];
  const [one, other] = fds.map((fd) => mapShared(fd, RANGE));
  new Uint8Array(one!.buffer)[4095] = 42;
  equal(new Uint8Array(other!.buffer)[4095], 42);
  for (const mapping of [one!, other!]) mapping.unmap();
  for (const fd of [file, ...fds]) close(fd);
});

viewTest("a read-only view cannot be written to", (views) => {
  const file = memfd("f", 4096);
  const view = views.open(file, false);
  equal(view >= 0, true);
  mapShared(view, RANGE, 0, false).unmap();
  let refused = false;
  try {
    mapShared(view, RANGE).unmap();
  } catch {
    refused = true;
  }
  equal(refused, true);
  for (const fd of [file, view]) close(fd);
});

viewTest("a name that is no descriptor of ours is refused", (views) => {
  for (const fd of [-1, 1_000_000, 2 ** 31 - 1]) equal(views.open(fd, false) < 0, true, `${fd}`);
});

viewTest("many views at a time, and none are left", (views) => {
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  const file = memfd("f", 4096);
  const fds = Array.from({ length: 200 }, () => views.open(file, true));
  for (const fd of fds) {
    equal(fd >= 0, true);
    close(fd);
  }
  close(file);
  equal([...Deno.readDirSync("/proc/self/fd")].length, before);
});

Deno.test({
  name: "what is mapped through a view outlives the mount",
  ignore: ignoreWithoutViews(),
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  const mount = await ViewMount.open();
  notEqual(typeof mount, "string");
  if (typeof mount === "string") return;
  const file = memfd("f", 4096);
  const view = new Views(mount.rootFd).open(file, true);
  const mapping = mapShared(view, RANGE);
  close(view);
  await mount.close();
  const bytes = new Uint8Array(mapping.buffer);
  bytes[7] = 7;
  equal(bytes[7], 7);
  const direct = mapShared(file, 4096);
  equal(new Uint8Array(direct.buffer)[7], 7);
  direct.unmap();
  mapping.unmap();
  close(file);
});
