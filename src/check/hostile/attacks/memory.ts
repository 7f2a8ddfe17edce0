/**
 * The guest's memory changes while the daemon works with it.
 *
 * @module
 */

import { IN_HEADER, Opcode } from "../../../wire/fuse.ts";
import { MEMORY_TABLE, VHOST_USER } from "../../../wire/vhost_user.ts";
import { MEMORY_REGION } from "../../../wire/vhost_user.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import { NoAnswer, SLOTS } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, ROOT } from "../requests.ts";

/** Sends many requests and writes to their bytes for as long as any of them is outstanding. */
function flip(
  { guest, tally }: Scene,
  post: () => number,
  change: (at: number, turn: number) => void,
): number {
  const slots: number[] = [];
  for (let i = 0; i < SLOTS; i++) slots.push(post());
  const places = slots.map((slot) => guest.requestAt(slot));
  guest.kick();
  let flips = 0;
  for (const end = performance.now() + guest.patienceMs; guest.outstanding > 0;) {
    for (const at of places) change(at, flips++);
    guest.reap();
    if (performance.now() > end) guest.awaitAll();
  }
  for (const slot of slots) tally.count(guest.answer(slot).status);
  return flips;
}

/** A memory table with one region (or none). */
function memoryTable(regions: readonly (readonly [size: number, address: number])[]): Uint8Array {
  const table = new DataView(
    new ArrayBuffer(MEMORY_TABLE.REGIONS + regions.length * MEMORY_REGION.SIZE),
  );
  table.setUint32(MEMORY_TABLE.NREGIONS, regions.length, true);
  regions.forEach(([size, address], i) => {
    const at = MEMORY_TABLE.REGIONS + i * MEMORY_REGION.SIZE;
    table.setBigUint64(at + MEMORY_REGION.MEMORY_SIZE, BigInt(size), true);
    table.setBigUint64(at + MEMORY_REGION.USERSPACE_ADDR, BigInt(address), true);
  });
  return new Uint8Array(table.buffer);
}

export const MEMORY_ATTACKS: readonly Attack[] = [
  {
    name: "names-that-change",
    tries: 'names that become "../canary/secret" and back while the daemon reads them',
    run(scene) {
      const { guest, tally } = scene;
      const good = new TextEncoder().encode("xx-canary-secret");
      const bad = new TextEncoder().encode("../canary/secret");
      const { u8 } = guest.memory;
      let flips = 0;
      for (let i = 0; i < rounds(scene, 150); i++) {
        for (
          const [opcode, fields] of [
            [Opcode.LOOKUP, []],
            [Opcode.MKDIR, [0o755, 0]],
            [Opcode.UNLINK, []],
            [Opcode.CREATE, [2, 0o644, 0, 0]],
          ] as const
        ) {
          const offset = IN_HEADER.SIZE + fields.length * 4;
          flips += flip(
            scene,
            () => guest.post(opcode, ROOT, body(fields, good)),
            (at, turn) => u8.set(turn % 2 === 0 ? bad : good, at + offset),
          );
        }
      }
      tally.remarks.add(`${flips} flips`);
    },
  },
  {
    name: "headers-that-change",
    tries: "opcodes, lengths, nodes and handles that change while the daemon reads them",
    run(scene) {
      const { guest, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      const handle = handleOf(open(guest, node, 2));
      const { view } = guest.memory;
      let flips = 0;
      for (let i = 0; i < rounds(scene, 200); i++) {
        flips += flip(
          scene,
          () => guest.post(Opcode.READ, node, body([handle, 0n, 512, 0, 0n, 0, 0])),
          (at, turn) => {
            switch (turn % 5) {
              case 0:
                return view.setUint32(at + IN_HEADER.LEN, turn % 2 === 0 ? 80 : 0xfffffff0, true);
              case 1:
                return view.setUint32(at + IN_HEADER.NODEID, turn % 3, true);
              case 2:
                return view.setUint32(at + IN_HEADER.SIZE + 16, 0xffffffff, true);
              case 3:
                return view.setUint32(at + IN_HEADER.SIZE, turn % 7, true);
              default:
                return view.setUint32(at + IN_HEADER.OPCODE, [15, 28, 44, 3][turn % 4]!, true);
            }
          },
        );
      }
      tally.remarks.add(`${flips} flips`);
    },
  },
  {
    name: "descriptors-that-change",
    tries: "addresses and lengths of descriptors that change while the daemon walks them",
    breaksQueue: true,
    async run(scene) {
      let { guest } = scene;
      let broken = 0;
      for (let i = 0; i < rounds(scene, 30); i++) {
        const { view } = guest.memory;
        guest.patienceMs = 1500;
        try {
          const slots = Array.from(
            { length: SLOTS },
            () => guest.post(Opcode.GETATTR, ROOT, body([0, 0, 0n])),
          );
          guest.kick();
          for (let turn = 0; turn < 2000 && guest.outstanding > 0; turn++) {
            const at = guest.layout.descriptors + (turn % (2 * SLOTS)) * 16;
            const size = view.getUint32(at + 8, true);
            view.setUint32(at + 8, turn % 3 === 0 ? 0xffffffff : 8, true);
            view.setUint32(at + 4, turn % 5 === 0 ? 0xffffffff : 0, true);
            view.setUint32(at + 8, size, true);
            view.setUint32(at + 4, 0, true);
            if (turn % 16 === 0) guest.reap();
          }
          guest.awaitAll();
          scene.tally.rounds += slots.length;
        } catch (error) {
          if (!(error instanceof NoAnswer)) throw error;
          broken++;
          guest = await scene.reconnect();
        }
      }
      scene.tally.remarks.add(`${broken} times the queue ended`);
    },
  },
  {
    name: "memory-removed",
    tries: "the memory that requests and rings are in is taken away while they run",
    breaksQueue: true,
    async run(scene) {
      let { guest } = scene;
      for (let i = 0; i < rounds(scene, 12); i++) {
        const node = nodeOf(lookup(guest, ROOT, "large"));
        const handle = handleOf(open(guest, node, 0));
        for (let j = 0; j < SLOTS / 2; j++) {
          const size = 64 * 1024;
          guest.post(Opcode.READ, node, body([handle, 0n, size, 0, 0n, 0, 0]), size);
        }
        guest.kick();
        const { memory } = guest.frontend;
        // A small piece of it somewhere else, or nothing.
        const regions = i % 2 === 0 ? [[4096, memory.address + 2 ** 32] as const] : [];
        try {
          const fd = regions.length === 0 ? null : memory.fd;
          await guest.frontend.order(VHOST_USER.SET_MEM_TABLE, memoryTable(regions), fd);
          scene.tally.count(0);
        } catch {
          // Refused, or the end of the connection.
          scene.tally.count(-1);
        }
        guest = await scene.reconnect();
      }
    },
  },
];
