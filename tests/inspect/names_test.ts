import { deepEqual, equal } from "node:assert/strict";
import { Session } from "../../src/fuse/session.ts";
import {
  fuseFlagNames,
  protocolFeatureNames,
  virtioFeatureNames,
} from "../../src/inspect/feature_names.ts";
import { opcodeName } from "../../src/inspect/opcode_names.ts";
import { SESSION_WORDS_AT } from "../../src/state/layout.ts";
import * as fuse from "../../src/wire/fuse.ts";

Deno.test("the session's words lie where the layout says", () => {
  const words = new Uint32Array(new SharedArrayBuffer(32));
  const at = (offset: number) => words[offset / 4];
  const session = new Session(words);
  session.begin(45, 7, 9);
  deepEqual(
    [
      at(SESSION_WORDS_AT.ACTIVE),
      at(SESSION_WORDS_AT.MINOR),
      at(SESSION_WORDS_AT.FLAGS),
      at(SESSION_WORDS_AT.FLAGS2),
      at(SESSION_WORDS_AT.COUNT),
    ],
    [1, 45, 7, 9, 1],
  );
});

Deno.test("every flag of INIT that the header has is named after it", () => {
  for (const [constant, value] of Object.entries(fuse)) {
    const high = /^FUSE2_(\w+)$/.exec(constant);
    if (high !== null) deepEqual(fuseFlagNames(0, value as number), [high[1]]);
  }
  deepEqual(fuseFlagNames(fuse.FUSE_POSIX_LOCKS + fuse.FUSE_INIT_EXT, 0), [
    "POSIX_LOCKS",
    "INIT_EXT",
  ]);
  // Every bit of the low word that is in use, in order, and what has no name.
  equal(fuseFlagNames(0xffffffff, 0).filter((name) => !name.startsWith("bit")).length, 28);
  deepEqual(fuseFlagNames(2 ** 31, 2 ** 30 + 2 ** 31), ["bit 31", "SHARED_VERSIONS", "bit 63"]);
});

Deno.test("features and opcodes have the names of their specifications", () => {
  deepEqual(virtioFeatureNames((1n << 29n) | (1n << 32n) | 1n), [
    "bit 0",
    "EVENT_IDX",
    "VERSION_1",
  ]);
  deepEqual(protocolFeatureNames(9n), ["MQ", "REPLY_ACK"]);
  deepEqual([1, 53, 0, 99].map(opcodeName), [
    "LOOKUP",
    "COPY_FILE_RANGE_64",
    "unknown",
    "opcode 99",
  ]);
});
