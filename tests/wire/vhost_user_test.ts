import assert from "node:assert/strict";
import {
  CONFIG,
  HEADER,
  MEMORY_REGION,
  MEMORY_REGION_MESSAGE,
  MEMORY_TABLE,
  VHOST_USER,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_PROTOCOL_F,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
  VHOST_USER_VRING_NOFD_MASK,
  VRING_ADDR,
  VRING_STATE,
} from "../../src/wire/vhost_user.ts";
import { FLAGS, PROTOCOL, REQUEST, VRING_NO_FD } from "../support/vhost_messages.ts";

Deno.test("vhost-user numbers agree with those that the tests took from the specification", () => {
  for (const [name, number] of Object.entries(REQUEST)) {
    assert.equal(VHOST_USER[name as keyof typeof VHOST_USER], number, name);
  }
  for (const [name, bit] of Object.entries(PROTOCOL)) {
    const key = name as keyof typeof VHOST_USER_PROTOCOL_F;
    assert.equal(BigInt(VHOST_USER_PROTOCOL_F[key]), bit, name);
  }
  assert.equal(VHOST_USER_VERSION, FLAGS.VERSION);
  assert.equal(VHOST_USER_REPLY_MASK, FLAGS.REPLY);
  assert.equal(VHOST_USER_NEED_REPLY_MASK, FLAGS.NEED_REPLY);
  assert.equal(BigInt(VHOST_USER_VRING_NOFD_MASK), VRING_NO_FD);
});

Deno.test("vhost-user front end messages are numbered from 1 without a gap", () => {
  const numbers = Object.values(VHOST_USER);
  assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, index) => index + 1));
});

/**
 * The structs of the specification, which has no header to include; those of the kernel come from its own. QEMU packs
 * the message as a whole.
 */
const SOURCE = `
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <linux/vhost_types.h>
#define PACKED __attribute__((packed))
typedef struct PACKED { uint32_t request, flags, size; } Header;
typedef struct PACKED { uint64_t guest_phys_addr, memory_size, userspace_addr, mmap_offset; } Region;
typedef struct PACKED { uint32_t nregions, padding; Region regions[8]; } Memory;
typedef struct PACKED { uint64_t padding; Region region; } MemRegMsg;
typedef struct PACKED { uint32_t offset, size, flags; uint8_t region[256]; } Config;
#define FIELD(type, field) printf("%s.%s %zu\\n", #type, #field, offsetof(type, field));
#define BYTES(type) printf("%s %zu\\n", #type, sizeof(type));
int main(void) {
  FIELD(Header, request) FIELD(Header, flags) FIELD(Header, size) BYTES(Header)
  FIELD(Region, guest_phys_addr) FIELD(Region, memory_size) FIELD(Region, userspace_addr)
  FIELD(Region, mmap_offset) BYTES(Region)
  FIELD(Memory, nregions) FIELD(Memory, regions)
  FIELD(MemRegMsg, region) BYTES(MemRegMsg)
  FIELD(Config, offset) FIELD(Config, size) FIELD(Config, flags) FIELD(Config, region)
  FIELD(struct vhost_vring_state, index) FIELD(struct vhost_vring_state, num)
  BYTES(struct vhost_vring_state)
  FIELD(struct vhost_vring_addr, index) FIELD(struct vhost_vring_addr, flags)
  FIELD(struct vhost_vring_addr, desc_user_addr) FIELD(struct vhost_vring_addr, used_user_addr)
  FIELD(struct vhost_vring_addr, avail_user_addr) FIELD(struct vhost_vring_addr, log_guest_addr)
  BYTES(struct vhost_vring_addr)
  return 0;
}
`;

const EXPECTED: readonly (readonly [string, number])[] = [
  ["Header.request", HEADER.REQUEST],
  ["Header.flags", HEADER.FLAGS],
  ["Header.size", HEADER.PAYLOAD_SIZE],
  ["Header", HEADER.SIZE],
  ["Region.guest_phys_addr", MEMORY_REGION.GUEST_PHYS_ADDR],
  ["Region.memory_size", MEMORY_REGION.MEMORY_SIZE],
  ["Region.userspace_addr", MEMORY_REGION.USERSPACE_ADDR],
  ["Region.mmap_offset", MEMORY_REGION.MMAP_OFFSET],
  ["Region", MEMORY_REGION.SIZE],
  ["Memory.nregions", MEMORY_TABLE.NREGIONS],
  ["Memory.regions", MEMORY_TABLE.REGIONS],
  ["MemRegMsg.region", MEMORY_REGION_MESSAGE.REGION],
  ["MemRegMsg", MEMORY_REGION_MESSAGE.SIZE],
  ["Config.offset", CONFIG.OFFSET],
  ["Config.size", CONFIG.BYTE_COUNT],
  ["Config.flags", CONFIG.FLAGS],
  ["Config.region", CONFIG.BYTES],
  ["struct vhost_vring_state.index", VRING_STATE.INDEX],
  ["struct vhost_vring_state.num", VRING_STATE.NUM],
  ["struct vhost_vring_state", VRING_STATE.SIZE],
  ["struct vhost_vring_addr.index", VRING_ADDR.INDEX],
  ["struct vhost_vring_addr.flags", VRING_ADDR.FLAGS],
  ["struct vhost_vring_addr.desc_user_addr", VRING_ADDR.DESC_USER_ADDR],
  ["struct vhost_vring_addr.used_user_addr", VRING_ADDR.USED_USER_ADDR],
  ["struct vhost_vring_addr.avail_user_addr", VRING_ADDR.AVAIL_USER_ADDR],
  ["struct vhost_vring_addr.log_guest_addr", VRING_ADDR.LOG_GUEST_ADDR],
  ["struct vhost_vring_addr", VRING_ADDR.SIZE],
];

function hasCompiler(): boolean {
  try {
    const { success } = new Deno.Command("cc", { args: ["-E", "-"], stdin: "null" }).outputSync();
    return success && Deno.statSync("/usr/include/linux/vhost_types.h").isFile;
  } catch {
    return false;
  }
}

Deno.test({
  name: "vhost-user layouts are those that a C compiler makes (needs cc and linux-libc-dev)",
  ignore: !hasCompiler(),
  fn: () => {
    const directory = Deno.makeTempDirSync();
    try {
      Deno.writeTextFileSync(`${directory}/layout.c`, SOURCE);
      const compiled = new Deno.Command("cc", {
        args: ["-o", `${directory}/layout`, `${directory}/layout.c`],
      }).outputSync();
      assert.ok(compiled.success, new TextDecoder().decode(compiled.stderr));
      const { stdout } = new Deno.Command(`${directory}/layout`).outputSync();
      const said = new TextDecoder().decode(stdout).trim().split("\n");
      assert.deepEqual(said, EXPECTED.map(([name, value]) => `${name} ${value}`));
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
});
