/**
 * The guest's memory changes while the daemon works with it.
 *
 * @module
 */

import { GETATTR_IN, IN_HEADER, Opcode, OUT_HEADER, READ_IN } from "../../../wire/fuse.ts";
import { MEMORY_TABLE, VHOST_USER } from "../../../wire/vhost_user.ts";
import { MEMORY_REGION } from "../../../wire/vhost_user.ts";
import { DESC } from "../../../wire/virtio_ring.ts";
import { type Attack, raceRounds, type Scene, serveDuring } from "../attack.ts";
import { NoAnswer, type RawGuest, ROOM, SLOTS } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, ROOT } from "../requests.ts";
import { SecondProcess } from "../second_process.ts";

/** A broken queue says nothing: this long is waited for it. */
const SILENCE_MS = 400;
/** Ringfuls before the guest looks whether its queue still works. */
const BATCHES = 8;
const GETATTR_SIZE = IN_HEADER.SIZE + GETATTR_IN.SIZE;
const REPLY_SIZE = OUT_HEADER.SIZE + ROOM;

/** A ringful of requests, again and again, whose bytes another process changes for as long as they are outstanding. */
function flip(scene: Scene, usual: number, post: () => number, flips: readonly FieldFlip[]): void {
  const { guest, tally } = scene;
  const requests = Array.from({ length: SLOTS }, (_, slot) => guest.requestAt(slot));
  using second = SecondProcess.flipping(
    guest.memory,
    flips.map(({ offset, values }) => ({
      places: requests.map((at) => at + offset),
      values: values.map((value) => () => value),
    })),
  );
  for (const _ of raceRounds(scene, usual)) {
    const slots = requests.map(post);
    serveDuring(scene, second);
    for (const slot of slots) tally.count(guest.answer(slot).status);
  }
}

/** A piece of each request, and what it is by turns. */
interface FieldFlip {
  readonly offset: number;
  readonly values: readonly Uint8Array[];
}

function u32s(...values: readonly number[]): Uint8Array[] {
  return values.map((value) => new Uint8Array(new Uint32Array([value]).buffer));
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
    tries:
      'names that another process changes to "../canary/secret" and back while the daemon reads them',
    races: "flips",
    run(scene) {
      const { guest, share } = scene;
      const name = "xx-canary-secret";
      Deno.writeTextFileSync(`${share}/${name}`, "inside\n");
      const good = new TextEncoder().encode(name);
      const bad = new TextEncoder().encode("../canary/secret");
      const operations = [
        [Opcode.LOOKUP, []],
        [Opcode.MKDIR, [0o755, 0]],
        [Opcode.UNLINK, []],
        [Opcode.CREATE, [2, 0o644, 0, 0]],
      ] as const;
      for (const [opcode, fields] of operations) {
        const offset = IN_HEADER.SIZE + fields.length * 4;
        const request = body(fields, good);
        flip(scene, 150, () => guest.post(opcode, ROOT, request), [{
          offset,
          values: [good, bad],
        }]);
      }
    },
  },
  {
    name: "headers-that-change",
    tries:
      "opcodes, lengths, nodes and handles that another process changes while the daemon reads them",
    races: "flips",
    run(scene) {
      const { guest } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      const handle = handleOf(open(guest, node, 2));
      const request = body([handle, 0n, 512, 0, 0n, 0, 0]);
      flip(scene, 200, () => guest.post(Opcode.READ, node, request), [
        { offset: IN_HEADER.LEN, values: u32s(80, 80, 0xfffffff0, 80, 41) },
        { offset: IN_HEADER.NODEID, values: u32s(Number(node), 0, 1, Number(node), 2) },
        { offset: IN_HEADER.SIZE + READ_IN.SIZE_, values: u32s(512, 0xffffffff, 512) },
        { offset: IN_HEADER.SIZE, values: u32s(Number(handle), 0, 1, 2, 3, 4, 5, 6) },
        {
          offset: IN_HEADER.OPCODE,
          values: u32s(Opcode.READ, Opcode.READDIR, Opcode.READDIRPLUS, Opcode.GETATTR),
        },
      ]);
    },
  },
  {
    name: "descriptors-that-change",
    tries:
      "addresses and lengths of descriptors that another process changes while the daemon walks them",
    breaksQueue: true,
    races: "flips",
    async run(scene) {
      let { guest } = scene;
      let broken = 0;
      for (const _ of raceRounds(scene, 30)) {
        guest.patienceMs = SILENCE_MS;
        try {
          using second = flippingDescriptors(guest);
          for (let i = 0; i < BATCHES; i++) {
            for (let j = 0; j < SLOTS; j++) guest.post(Opcode.GETATTR, ROOT, body([0, 0, 0n]));
            scene.tally.rounds += SLOTS;
            serveDuring(scene, second, guest);
          }
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
    races: "removals",
    async run(scene) {
      let { guest } = scene;
      for (const i of raceRounds(scene, 24)) {
        const node = nodeOf(lookup(guest, ROOT, "large"));
        const handle = handleOf(open(guest, node, 0));
        for (let j = 0; j < SLOTS; j++) {
          const size = 64 * 1024;
          guest.post(Opcode.READ, node, body([handle, 0n, size, 0, 0n, 0, 0]), size);
        }
        guest.kick();
        const { memory } = guest.frontend;
        // A small piece of it somewhere else, or nothing.
        const regions = i % 2 === 0 ? [[4096, memory.address + 2 ** 32] as const] : [];
        // In the midst of them, but the first round: before the daemon is awake.
        if (i > 0) someAnswered(guest);
        guest.reap();
        const { outstanding } = guest;
        try {
          const fd = regions.length === 0 ? null : memory.fd;
          await guest.frontend.order(VHOST_USER.SET_MEM_TABLE, memoryTable(regions), fd);
          scene.tally.count(0);
        } catch {
          // Refused, or the end of the connection.
          scene.tally.count(-1);
        }
        scene.tally.overlap(1, outstanding);
        guest = await scene.reconnect();
      }
    },
  },
];

/** Looks until a request has come back, or for a while. */
function someAnswered(guest: RawGuest): void {
  const deadline = performance.now() + SILENCE_MS;
  while (guest.reap() === 0 && performance.now() < deadline);
}

/** Most of the time they are what they were written as: a queue that ends at once is no race. */
function flippingDescriptors(guest: RawGuest): SecondProcess {
  const descriptors = Array.from({ length: 2 * SLOTS }, (_, i) => {
    return guest.layout.descriptors + i * DESC.SIZE;
  });
  const asWritten = (i: number) => u32s(i % 2 === 0 ? GETATTR_SIZE : REPLY_SIZE)[0]!;
  const other = (value: number) => () => u32s(value)[0]!;
  return SecondProcess.flipping(guest.memory, [
    {
      places: descriptors.map((at) => at + DESC.LEN),
      values: [...new Array(60).fill(asWritten), other(0xffffffff), asWritten, other(8)],
    },
    {
      places: descriptors.map((at) => at + DESC.ADDR + 4),
      values: [...new Array(60).fill(other(0)), other(0xffffffff)],
    },
  ]);
}
