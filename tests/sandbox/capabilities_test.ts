import { deepEqual, equal } from "node:assert/strict";
import {
  capabilityData,
  capabilityName,
  capabilityNumber,
  keptCapabilities,
  members,
  others,
} from "../../src/sandbox/capabilities.ts";
import { parseIdRange } from "../../src/sandbox/id_maps.ts";

/** What Rust virtiofsd 1.14 was seen to keep, started as root without options. */
const RUST_KEEPS = 0x880000dfn;

Deno.test("a daemon keeps what Rust virtiofsd keeps", () => {
  equal(keptCapabilities(true, null), RUST_KEEPS);
  equal(keptCapabilities(false, null), RUST_KEEPS & ~4n, "no file handles, no dac_read_search");
});

Deno.test("--modcaps adds and takes away", () => {
  const set = keptCapabilities(true, { add: [21], remove: [27] });
  equal(set, (RUST_KEEPS | (1n << 21n)) & ~(1n << 27n));
});

Deno.test("capabilities have their names", () => {
  for (const name of ["sys_admin", "SYS_ADMIN", "cap_sys_admin", "CAP_SYS_ADMIN"]) {
    equal(capabilityNumber(name), 21);
  }
  equal(capabilityNumber("sys_nothing"), null);
  equal(capabilityNumber("toString"), null);
  equal(capabilityName(21), "sys_admin");
});

Deno.test("a set and the others are all there are", () => {
  const all = [...members(RUST_KEEPS), ...others(RUST_KEEPS)].sort((a, b) => a - b);
  deepEqual(all, Array.from({ length: 41 }, (_, i) => i));
});

Deno.test("capset is given effective, permitted and inheritable, low words first", () => {
  const words = new Uint32Array(capabilityData(0x1_0000_0002n).buffer);
  deepEqual([...words], [2, 2, 2, 1, 1, 1]);
});

Deno.test("--uid-map is :INSIDE:OUTSIDE:COUNT:", () => {
  deepEqual(parseIdRange(":0:100000:65536:"), { inside: 0, outside: 100000, count: 65536 });
  for (
    const text of ["", "0:1:1", ":0:1:1", ":0:1:x:", ":0:1:0:", ":0:4294967295:1:", ":-1:0:1:"]
  ) {
    equal(typeof parseIdRange(text), "string", text);
  }
});
