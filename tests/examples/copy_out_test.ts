import { deepEqual, equal, rejects } from "node:assert/strict";
import { copyOut } from "../../examples/copy_out.ts";
import { ServedDirectory } from "../userspace_guest/daemons.ts";

Deno.test("examples/copy_out.ts copies a file of several pieces out of a share", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const big = new Uint8Array(3_000_000);
  for (let at = 0; at < big.length; at += bytes.length) big.set(bytes, at);
  Deno.writeFileSync(`${served.directory}/big`, big);
  const target = Deno.makeTempFileSync();
  equal(await copyOut(served.socketPath, "/big", target), big.length);
  deepEqual(Deno.readFileSync(target), big);
  await rejects(copyOut(served.socketPath, "/absent", target), /ENOENT/);
  Deno.removeSync(target);
});
