/**
 * The DAX window and the table of versions: memory of the guest that is files of the host.
 *
 * @module
 */

import { errnoName } from "../../../sys/errno.ts";
import { libc, status } from "../../../sys/libc.ts";
import { Opcode } from "../../../wire/fuse.ts";
import { PROT_READ, PROT_WRITE } from "../../../wire/linux.ts";
import { FUSE2_SHARED_VERSIONS, VERSION_REGION_ID } from "../../../wire/shared_versions.ts";
import { DAX_REGION_ID } from "../../../wire/vhost_user.ts";
import { type Attack, PLACE, rounds, type Scene } from "../attack.ts";
import { body, lookup, nodeOf, ROOT } from "../requests.ts";

const ALL_ONES = 2n ** 64n - 1n;
const RANGE = 2n ** 21n;
const READ = 2n;
const WRITE = 1n;

function map(
  { guest, tally }: Scene,
  node: bigint,
  from: bigint,
  length: bigint,
  at: bigint,
  flags = READ | WRITE,
): number {
  const { status } = guest.call(
    Opcode.SETUPMAPPING,
    node,
    body([ALL_ONES, from, length, flags, at]),
  );
  tally.count(status);
  return status;
}

export const MAPPING_ATTACKS: readonly Attack[] = [
  {
    name: "dax-window",
    tries:
      "mappings outside the window, of links, directories, devices and forged nodes; overlaps; unmapping what is not there",
    run(scene) {
      const { guest, tally, share } = scene;
      const region = guest.frontend.shmemRegions.get(DAX_REGION_ID);
      if (region === undefined) {
        tally.remarks.add("the daemon offers no window");
        return;
      }
      const size = BigInt(region.size);
      const file = nodeOf(lookup(guest, ROOT, "large"));
      Deno.symlinkSync("../canary/secret", `${share}/mapped-out`);
      const others = ["directory", "mapped-out"].map((name) => nodeOf(lookup(guest, ROOT, name)));
      for (const node of [...others, ROOT, 0n, file + 99n, ALL_ONES, file | 1n << 40n]) {
        if (map(scene, node, 0n, RANGE, 0n) === 0) tally.violations.add("no file was mapped");
      }
      const good = map(scene, file, 0n, RANGE, 0n);
      if (good < 0) tally.remarks.add(`nothing can be mapped: ${errnoName(good)}`);
      const edges = [1n, 4095n, size, size - 4096n, size - 1n, 2n ** 32n, 2n ** 53n, 2n ** 63n]
        .concat([ALL_ONES, ALL_ONES - 4095n, 2n ** 64n - RANGE]);
      for (const edge of edges) {
        const outside = map(scene, file, 0n, RANGE, edge);
        if (outside === 0) tally.violations.add(`mapped at ${edge} of a window of ${size}`);
        map(scene, file, edge, RANGE, 0n);
        const long = map(scene, file, 0n, edge, 0n);
        if (long === 0 && edge > size) tally.violations.add(`${edge} bytes were mapped`);
        const remove = body([2, edge, RANGE, 0n, edge]);
        tally.count(guest.call(Opcode.REMOVEMAPPING, 0n, remove).status);
      }
      for (const count of [0, 3, 1000, 0xffffffff, 0x10000000]) {
        tally.count(guest.call(Opcode.REMOVEMAPPING, 0n, body([count, 0n, RANGE])).status);
      }
      for (let i = 0; i < rounds(scene, 200); i++) {
        map(
          scene,
          file,
          BigInt(i % 3) * 4096n,
          RANGE,
          BigInt(i % 7) * 4096n,
          i % 5 === 0 ? 8n : 3n,
        );
      }
      for (const [offset, length] of region.mappings) {
        if (offset + length > region.size) tally.violations.add("a mapping beyond the window");
      }
    },
  },
  {
    name: "version-table",
    ownOptions: ["--cache", "shared", "--version-table", `${PLACE}/versions`],
    tries: "writing to the table of versions that all guests of the host read",
    async run(scene) {
      const { tally } = scene;
      const guest = await scene.reconnect([0xffffffff, FUSE2_SHARED_VERSIONS]);
      const region = guest.frontend.shmemRegions.get(VERSION_REGION_ID);
      if (region === undefined || region.mappings.size === 0) {
        tally.remarks.add("the daemon shares no versions");
        return;
      }
      for (const [offset, length] of region.mappings) {
        tally.rounds++;
        if (region.covers(offset, length, true)) {
          tally.violations.add("it was mapped to be written to");
        }
        // What the monitor could do for its guest: the kernel refuses where the file was not sent to be written to.
        const address = Deno.UnsafePointer.create(BigInt(region.address + offset));
        const made = status(libc.mprotect(address, length, PROT_READ | PROT_WRITE));
        tally.count(made);
        if (made === 0) tally.violations.add("its descriptor can be mapped to be written to");
      }
    },
  },
];
