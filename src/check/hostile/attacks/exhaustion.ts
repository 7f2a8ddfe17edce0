/**
 * Guests that hold all they can get (CVE-2020-10717).
 *
 * @module
 */

import { Opcode } from "../../../wire/fuse.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import { SLOTS } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, ROOT } from "../requests.ts";

/** Descriptors of the daemon, as far as that can be seen: it may be a child of the process that was started. */
function descriptorCount({ pid }: Scene): number {
  return pid === null ? 0 : Math.max(...withChildren(pid).map(openDescriptors));
}

function withChildren(pid: number): number[] {
  try {
    const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
    const below = children === "" ? [] : children.split(" ").map(Number);
    return [pid, ...below.flatMap(withChildren)];
  } catch {
    return [pid];
  }
}

function openDescriptors(pid: number): number {
  try {
    return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  } catch {
    return 0;
  }
}

/** Makes `count` requests by the ringful; each answer is looked at. */
function flood(
  { guest, tally }: Scene,
  count: number,
  post: (i: number) => number,
  take: (slot: number) => void,
): void {
  for (let done = 0; done < count;) {
    const slots: number[] = [];
    for (; slots.length < SLOTS && done < count; done++) slots.push(post(done));
    guest.kick();
    guest.awaitAll();
    for (const slot of slots) take(slot);
    if (tally.refused > count / 2) return;
  }
}

export const EXHAUSTION_ATTACKS: readonly Attack[] = [
  {
    name: "open-handles",
    tries: "100,000 open files; then the guest closes some and goes on",
    run(scene) {
      const { guest, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      const handles: bigint[] = [];
      flood(
        scene,
        rounds(scene, 100_000),
        () => guest.post(Opcode.OPEN, node, body([0, 0])),
        (slot) => {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status === 0) handles.push(handleOf(answer));
        },
      );
      tally.remarks.add(`${handles.length} were opened`);
      const held = descriptorCount(scene);
      if (held > 0) tally.remarks.add(`${held} descriptors`);
      if (guest.call(Opcode.GETATTR, node, body([0, 0, 0n])).status !== 0) {
        tally.violations.add("a file that is known cannot be asked about any more");
      }
      for (const handle of handles.splice(0, 64)) {
        if (guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n])).status !== 0) {
          tally.violations.add("RELEASE is refused");
        }
      }
      if (open(guest, node, 0).status !== 0) {
        tally.violations.add("nothing can be opened after RELEASE");
      }
    },
  },
  {
    name: "many-inodes",
    tries: "20,000 files looked up and never forgotten, and locks on each",
    run(scene) {
      const { guest, tally } = scene;
      const nodes: bigint[] = [];
      flood(
        scene,
        rounds(scene, 20_000),
        (i) => guest.post(Opcode.MKNOD, ROOT, body([0o100644, 0, 0, 0], `many-${i}`)),
        (slot) => {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status === 0) nodes.push(nodeOf(answer));
        },
      );
      flood(
        scene,
        nodes.length,
        (i) => guest.post(Opcode.SETLK, nodes[i]!, body([0n, 1n, 0n, 9n, 1, 1, 0, 0])),
        (slot) => tally.count(guest.answer(slot).status),
      );
      const held = descriptorCount(scene);
      if (held > 0) tally.remarks.add(`${held} descriptors`);
      if (guest.call(Opcode.GETATTR, ROOT, body([0, 0, 0n])).status !== 0) {
        tally.violations.add("the root cannot be asked about any more");
      }
    },
  },
];
