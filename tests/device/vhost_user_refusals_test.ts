import { close, eventfd, memfd } from "../support/libc.ts";
import { concat, words } from "../support/little_endian.ts";
import { negotiated, refused, serveNext } from "../support/refusal.ts";
import { ServedTree } from "../support/served_tree.ts";
import { mask, REQUEST } from "../support/vhost_messages.ts";

const served = new ServedTree();
const MIB = 1 << 20;

/** Messages that no sane front end sends; each is tried on a connection of its own. */
const refusals: Record<string, () => [number, Uint8Array, number[]?]> = {
  "SET_FEATURES with a feature never offered": () => [REQUEST.SET_FEATURES, words(1n << 34n)],
  "SET_FEATURES of four bytes": () => [REQUEST.SET_FEATURES, words(0)],
  "SET_FEATURES of sixteen bytes": () => [REQUEST.SET_FEATURES, words(0n, 0n)],
  "SET_PROTOCOL_FEATURES with a feature never offered": () => [
    REQUEST.SET_PROTOCOL_FEATURES,
    words(mask(3n, 62n)),
  ],
  "SET_MEM_TABLE without regions' descriptors": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(1, 0), words(0n, BigInt(MIB), 0x1000_0000n, 0n)),
  ],
  "SET_MEM_TABLE that counts more regions than it has": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(5, 0), words(0n, BigInt(MIB), 0x1000_0000n, 0n)),
    [memfd("x", MIB)],
  ],
  "SET_MEM_TABLE that counts 4 billion regions": () => [
    REQUEST.SET_MEM_TABLE,
    words(0xffff_ffff, 0),
  ],
  "SET_MEM_TABLE of four bytes": () => [REQUEST.SET_MEM_TABLE, words(1)],
  "SET_MEM_TABLE with a bad fd": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(1, 0), words(0n, BigInt(MIB), 0x1000_0000n, 0n)),
    [eventfd()],
  ],
  "SET_MEM_TABLE with a region beyond the end of its file": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(1, 0), words(0n, BigInt(4 * MIB), 0x1000_0000n, 0n)),
    [memfd("x", MIB)],
  ],
  "SET_MEM_TABLE with an offset beyond the end of its file": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(1, 0), words(0n, BigInt(MIB), 0x1000_0000n, BigInt(64 * MIB))),
    [memfd("x", MIB)],
  ],
  "SET_MEM_TABLE with an empty region": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(1, 0), words(0n, 0n, 0x1000_0000n, 0n)),
    [memfd("x", MIB)],
  ],
  "SET_MEM_TABLE with a region that wraps around": () => [
    REQUEST.SET_MEM_TABLE,
    concat(words(1, 0), words(-4096n, BigInt(MIB), 0x1000_0000n, 0n)),
    [memfd("x", MIB)],
  ],
  "SET_MEM_TABLE with regions that overlap": () => [
    REQUEST.SET_MEM_TABLE,
    concat(
      words(2, 0),
      words(0n, BigInt(MIB), 0x1000_0000n, 0n),
      words(BigInt(MIB / 2), BigInt(MIB), 0x2000_0000n, 0n),
    ),
    [memfd("x", MIB), memfd("y", MIB)],
  ],
  "ADD_MEM_REG without a descriptor": () => [
    REQUEST.ADD_MEM_REG,
    words(0n, 0n, BigInt(MIB), 0x1000_0000n, 0n),
  ],
  "ADD_MEM_REG with a bad fd": () => [
    REQUEST.ADD_MEM_REG,
    words(0n, 0n, BigInt(MIB), 0x1000_0000n, 0n),
    [eventfd()],
  ],
  "ADD_MEM_REG that is too short": () => [
    REQUEST.ADD_MEM_REG,
    words(0n, 0n, BigInt(MIB)),
    [memfd("x", MIB)],
  ],
  "REM_MEM_REG of a region nobody added": () => [
    REQUEST.REM_MEM_REG,
    words(0n, 0n, BigInt(MIB), 0x1000_0000n, 0n),
  ],
  "SET_VRING_NUM of a ring that does not exist": () => [REQUEST.SET_VRING_NUM, words(9, 128)],
  "SET_VRING_NUM of ring 4 billion": () => [REQUEST.SET_VRING_NUM, words(0xffff_ffff, 128)],
  "SET_VRING_NUM 0": () => [REQUEST.SET_VRING_NUM, words(1, 0)],
  "SET_VRING_NUM 100, no power of two": () => [REQUEST.SET_VRING_NUM, words(1, 100)],
  "SET_VRING_NUM 65536": () => [REQUEST.SET_VRING_NUM, words(1, 65536)],
  "SET_VRING_NUM of four bytes": () => [REQUEST.SET_VRING_NUM, words(1)],
  "SET_VRING_BASE of a ring that does not exist": () => [REQUEST.SET_VRING_BASE, words(9, 0)],
  "SET_VRING_ADDR of a ring that does not exist": () => [
    REQUEST.SET_VRING_ADDR,
    words(9, 0, 0n, 0n, 0n, 0n),
  ],
  "SET_VRING_ADDR of eight bytes": () => [REQUEST.SET_VRING_ADDR, words(1, 0)],
  "SET_VRING_KICK of a ring that does not exist": () => [
    REQUEST.SET_VRING_KICK,
    words(9n),
    [eventfd()],
  ],
  "SET_VRING_KICK without its descriptor": () => [REQUEST.SET_VRING_KICK, words(1n)],
  "SET_VRING_CALL without its descriptor": () => [REQUEST.SET_VRING_CALL, words(1n)],
  "SET_VRING_CALL of a ring that does not exist": () => [
    REQUEST.SET_VRING_CALL,
    words(200n),
    [eventfd()],
  ],
  "SET_VRING_ENABLE of a ring that does not exist": () => [REQUEST.SET_VRING_ENABLE, words(9, 1)],
  "SET_BACKEND_REQ_FD without a descriptor": () => [
    REQUEST.SET_BACKEND_REQ_FD,
    new Uint8Array(0),
  ],
  "request number 0": () => [0, new Uint8Array(0)],
  "request number 99": () => [99, new Uint8Array(0)],
  "request number 4 billion": () => [0xffff_ffff, new Uint8Array(0)],
  "IOTLB_MSG, which has no meaning here": () => [22, new Uint8Array(40)],
  "NET_SET_MTU, which has no meaning here": () => [20, words(1500n)],
};

/** Those that Rust virtiofsd takes, or falls over; they stay as we want them. */
for (const [what, message] of Object.entries(refusals)) {
  served.testWithoutGuest(`vhost-user: ${what} is refused`, async ({ daemon }) => {
    const frontend = negotiated(daemon);
    const [request, payload, fds = []] = message();
    await refused(daemon, frontend, request, payload, fds);
    for (const fd of fds) close(fd);
    frontend.close();
    serveNext(daemon);
  }, { notOnRust: true });
}
