/**
 * Descriptor chains and ring indices that no driver may write.
 *
 * @module
 */

import { FUSE_ROOT_ID, Opcode } from "../../../wire/fuse.ts";
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../../wire/virtio_ring.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import { type Descriptor, NoAnswer, type RawGuest, RING_SIZE, SLOTS } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, ROOT } from "../requests.ts";

const NEXT = VIRTQ_DESC_F_NEXT;
const WRITE = VIRTQ_DESC_F_WRITE;
const INDIRECT = VIRTQ_DESC_F_INDIRECT;
/** A broken queue says nothing: this long is waited for it. */
const SILENCE_MS = 700;
const BEYOND = 2 ** 40;

type Chain = (guest: RawGuest, request: number, reply: number) => Descriptor[];

/** Chains by what is wrong with them; `request` and `reply` are good places. */
const CHAINS: Readonly<Record<string, Chain>> = {
  "loops to itself": (_, request) => [{ address: request, size: 56, flags: NEXT, next: 127 }],
  "loops in a ring of two": (_, request) => [
    { address: request, size: 8, flags: NEXT, next: 0 },
    { address: request, size: 8, flags: NEXT, next: 126 },
  ],
  "goes on outside the table": (_, request) => [
    { address: request, size: 56, flags: NEXT, next: RING_SIZE + 1000 },
  ],
  "buffers outside memory": () => [
    { address: BEYOND, size: 56, flags: 0, next: 0 },
    { address: BEYOND, size: 256, flags: WRITE, next: 0 },
  ],
  "an address at the end of all": () => [
    { address: 2 ** 53 - 1, size: 0xffffffff, flags: 0, next: 0 },
    { address: 2 ** 53 - 1, size: 0xffffffff, flags: WRITE, next: 0 },
  ],
  "4 GiB of request": (_, request, reply) => [
    { address: request, size: 0xffffffff, flags: 0, next: 0 },
    { address: reply, size: 256, flags: WRITE, next: 0 },
  ],
  "4 GiB of reply": (_, request, reply) => [
    { address: request, size: 56, flags: 0, next: 0 },
    { address: reply, size: 0xffffffff, flags: WRITE, next: 0 },
  ],
  "reply before request": (_, request, reply) => [
    { address: reply, size: 256, flags: WRITE, next: 0 },
    { address: request, size: 56, flags: 0, next: 0 },
  ],
  "no room for a reply": (_, request) => [{ address: request, size: 56, flags: 0, next: 0 }],
  "nothing to read": (_, __, reply) => [{ address: reply, size: 256, flags: WRITE, next: 0 }],
  "empty buffers": (_, request, reply) => [
    { address: request, size: 0, flags: 0, next: 0 },
    { address: reply, size: 0, flags: WRITE, next: 0 },
  ],
  "reply over the request": (_, request) => [
    { address: request, size: 56, flags: 0, next: 0 },
    { address: request, size: 256, flags: WRITE, next: 0 },
  ],
  "reply over the ring": ({ layout }, request) => [
    { address: request, size: 56, flags: 0, next: 0 },
    { address: layout.used, size: 256, flags: WRITE, next: 0 },
  ],
  "an indirect table in itself": ({ spare }) => [
    { address: spare, size: 32, flags: INDIRECT, next: 0 },
  ],
  "an indirect table outside memory": () => [
    { address: BEYOND, size: 32, flags: INDIRECT, next: 0 },
  ],
  "an indirect table of 5 bytes": ({ spare }) => [
    { address: spare, size: 5, flags: INDIRECT, next: 0 },
  ],
  "an indirect table and more": ({ spare }, request) => [
    { address: spare, size: 32, flags: INDIRECT | NEXT, next: 0 },
    { address: request, size: 56, flags: 0, next: 0 },
  ],
  "an indirect table of 4 GiB": ({ spare }) => [
    { address: spare, size: 0xfffffff0, flags: INDIRECT, next: 0 },
  ],
};

/** Whether the daemon still serves this connection. */
function answers(guest: RawGuest): boolean {
  guest.patienceMs = SILENCE_MS;
  try {
    guest.call(Opcode.GETATTR, ROOT, body([0, 0, 0n]));
    return true;
  } catch (error) {
    if (error instanceof NoAnswer) return false;
    throw error;
  }
}

function requestIn(guest: RawGuest, at: number): void {
  const { view, u8 } = guest.memory;
  u8.fill(0, at, at + 256);
  view.setUint32(at, 56, true);
  view.setUint32(at + 4, Opcode.GETATTR, true);
  view.setUint32(at + 8, 77, true);
  view.setUint32(at + 16, FUSE_ROOT_ID, true);
}

async function eachAnew(
  scene: Scene,
  attempts: readonly (readonly [what: string, run: (guest: RawGuest) => void])[],
): Promise<void> {
  let guest = scene.guest;
  let broken = 0;
  for (const [, run] of attempts) {
    run(guest);
    scene.tally.rounds++;
    if (answers(guest)) continue;
    broken++;
    guest = await scene.reconnect();
  }
  scene.tally.refused += broken;
  scene.tally.remarks.add(`${broken} of ${attempts.length} ended the queue`);
}

export const RING_ATTACKS: readonly Attack[] = [
  {
    name: "descriptor-chains",
    tries: `${
      Object.keys(CHAINS).length
    } kinds of chains: loops, outside memory, out of order, bad indirect tables`,
    async run(scene) {
      const attempts = Object.entries(CHAINS).map(([what, chain]) =>
        [what, (guest: RawGuest) => {
          const request = guest.requestAt(SLOTS - 1);
          requestIn(guest, request);
          // For those that name an indirect table: it names itself.
          guest.describe(
            0,
            [{ address: guest.spare, size: 32, flags: INDIRECT, next: 0 }],
            guest.spare,
          );
          guest.describe(126, chain(guest, request, guest.replyAt(SLOTS - 1)));
          guest.offer(126);
          guest.kick();
        }] as const
      );
      await eachAnew(scene, attempts);
    },
  },
  {
    name: "ring-indices",
    tries:
      "heads outside the ring, more available than it has, one head many times, indices that go back",
    async run(scene) {
      const offerAll = (heads: number[], step = 1) => (guest: RawGuest) => {
        const slot = SLOTS - 1;
        requestIn(guest, guest.requestAt(slot));
        guest.describe(2 * slot, [
          { address: guest.requestAt(slot), size: 56, flags: 0, next: 0 },
          { address: guest.replyAt(slot), size: 256, flags: WRITE, next: 0 },
        ]);
        for (const head of heads) guest.offer(head, step);
        guest.kick();
      };
      await eachAnew(scene, [
        ["a head outside", offerAll([RING_SIZE])],
        ["the last head there is", offerAll([0xffff])],
        ["more than the ring has", offerAll([126], RING_SIZE + 1)],
        ["as much as can be said", offerAll([126], 0x8000)],
        ["back", offerAll([126], 0xffff)],
        ["one head many times", offerAll(new Array(RING_SIZE).fill(126))],
      ]);
    },
  },
  {
    name: "used-ring-pressure",
    tries: "a ring that is always full, whose answers are not taken, over and over",
    run(scene) {
      const { guest, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      for (let i = 0; i < rounds(scene, 400); i++) {
        for (let j = 0; j < SLOTS; j++) {
          guest.post(Opcode.GETATTR, node, body([0, 0, 0n]));
          // One by one, so that it works while more comes.
          if (j % 8 === 0) guest.kick();
        }
        guest.kick();
        guest.awaitAll();
        tally.rounds += SLOTS;
      }
    },
  },
  {
    name: "locks-that-wait",
    tries:
      "as many SETLKW as the ring has entries for, all waiting for each other, and a hang-up meanwhile",
    async run(scene) {
      const { guest, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      const handle = handleOf(open(guest, node, 2));
      const slots: number[] = [];
      for (let i = 0; i < SLOTS; i++) {
        const lock = body([handle, BigInt(i), 0n, 9n, 1, 1, 0, 0]);
        slots.push(guest.post(Opcode.SETLKW, node, lock));
      }
      guest.kick();
      // The first gets the lock, unless there are no locks.
      tally.count(guest.await(slots[0]!).status);
      guest.reap();
      tally.remarks.add(`${guest.outstanding} wait`);
      tally.rounds += guest.outstanding;
      const next = await scene.reconnect();
      if (!answers(next)) tally.violations.add("the next guest is not served");
    },
  },
];
