import assert from "node:assert/strict";
import { run, Workplace } from "./program.ts";

Deno.test("program: demo --guest program serves, mounts, reads, writes and cleans up", async () => {
  using place = new Workplace();
  const { code, stdout, stderr } = await run(["demo", "--guest", "program"], {
    env: { TMPDIR: place.directory },
  });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /cat hello\.txt: Hello from the host\./);
  assert.match(stdout, /✔ .*from-program\.txt is there, as written/);
  assert.match(stdout, /big\.bin: 16 MiB written at \d+ MiB\/s, read at \d+ MiB\/s/);
  assert.match(stdout, /What went over the ring\n.*request.*\n(.*\n)*? {2}LOOKUP +\d+/);
  assert.match(stdout, /ls: docs {2}from-program\.txt {2}hello\.txt/);
  assert.match(stdout, /qemu-system-x86_64/);
  assert.match(stdout, /All of it worked\./);
  assert.deepEqual([...Deno.readDirSync(place.directory)].map((entry) => entry.name), ["share"]);
});
