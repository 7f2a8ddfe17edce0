import { equal } from "node:assert/strict";
import { OP } from "../support/fuse_wire.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { ShareClient } from "./share_client.ts";

const ENODATA = 61;
const ERANGE = 34;
const ROOT = 1n;

Deno.test("xattrs with room for a header only: an errno, not a reply that does not fit", async () => {
  await using share = await ShareClient.start({ xattr: true });
  const value = text("five!");
  const set = await share.call(OP.SETXATTR, ROOT, concat(words(5, 0), name("user.x"), value));
  equal(set.error, 0);
  for (
    const [opcode, rest] of [[OP.GETXATTR, name("user.x")], [
      OP.LISTXATTR,
      new Uint8Array(),
    ]] as const
  ) {
    for (const asked of [1, 5, 100]) {
      const body = concat(words(asked, 0), rest);
      // 16 bytes: a header. 18: less than the value.
      for (const writableSize of [16, 18]) {
        const { error } = await share.call(opcode, ROOT, body, { writableSize });
        equal(error, ERANGE, `opcode ${opcode}, ${asked} bytes asked, ${writableSize} of room`);
      }
    }
  }
  equal((await share.call(OP.GETXATTR, ROOT, concat(words(9, 0), name("user.y")))).error, ENODATA);
});
