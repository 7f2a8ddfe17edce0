import { equal, notEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { HandleTable } from "../../src/state/handle_table.ts";
import { property } from "../virtqueue/property.ts";
import { FreshState, isOpen, someFd } from "./fresh_state.ts";

Deno.test("a handle is found by slot, generation and inode, and by nothing else", () => {
  using state = new FreshState();
  const table = new HandleTable(state.memory, () => {});
  const fd = someFd();
  const slot = table.insert(fd, 9, 3);
  const generation = table.generation(slot);
  notEqual(slot, 0);
  equal(table.acquire(slot, generation, 9), true);
  equal(table.fd(slot), fd);
  equal(table.flags(slot), 3);
  table.release(slot);
  equal(table.acquire(slot, generation + 1, 9), false);
  equal(table.acquire(slot, generation, 8), false);
  for (const forged of [0, -1, slot + 1, 2 ** 20, 2 ** 32 - 1]) {
    equal(table.acquire(forged, generation, 9), false, `slot ${forged}`);
  }
  // None of these touched it.
  equal(isOpen(fd), true);
  table.closeAll();
  equal(isOpen(fd), false);
});

Deno.test("a closed handle stays open for the requests that use it, but is not found", () => {
  using state = new FreshState();
  const table = new HandleTable(state.memory, () => {});
  const fd = someFd();
  const slot = table.insert(fd, 9, 0);
  const generation = table.generation(slot);
  table.acquire(slot, generation, 9);
  table.acquire(slot, generation, 9);
  equal(table.close(slot), true);
  // RELEASE sent twice.
  equal(table.close(slot), false);
  equal(table.acquire(slot, generation, 9), false);
  table.release(slot);
  equal(isOpen(fd), true);
  equal(table.count, 1);
  table.release(slot);
  equal(isOpen(fd), false);
  equal(table.count, 0);
});

Deno.test("a handle's number means another file only with another generation", () => {
  using state = new FreshState();
  const table = new HandleTable(state.memory, () => {});
  const slot = table.insert(someFd(), 9, 0);
  const generation = table.generation(slot);
  table.setCursor(slot, 7, 8);
  table.close(slot);
  const again = table.insert(someFd(), 9, 0);
  equal(again, slot);
  notEqual(table.generation(again), generation);
  equal(table.acquire(again, generation, 9), false);
  equal(table.cursorLo(again) + table.cursorHi(again), 0);
  table.closeAll();
});

Deno.test("a release without acquire is our own mistake and asserts", () => {
  using state = new FreshState();
  const table = new HandleTable(state.memory, () => {});
  const slot = table.insert(someFd(), 9, 0);
  table.close(slot);
  throws(() => table.release(slot), /released once/);
});

property(
  "HandleTable behaves as a map of open files",
  import.meta.url,
  fc.array(fc.tuple(fc.constantFrom("open", "use", "done", "close"), fc.nat(7)), {
    maxLength: 150,
  }),
  (steps) => {
    using state = new FreshState();
    const table = new HandleTable(state.memory, () => {});
    interface Open {
      readonly slot: number;
      readonly generation: number;
      readonly fd: number;
      users: number;
      closed: boolean;
    }
    const list: Open[] = [];
    const drop = (open: Open): void => {
      if (open.closed && open.users === 0) list.splice(list.indexOf(open), 1);
    };
    for (const [what, which] of steps) {
      if (what === "open") {
        const fd = someFd();
        const slot = table.insert(fd, 4, 0);
        // No two open files share a slot.
        equal(list.some((open) => open.slot === slot), false);
        list.push({ slot, generation: table.generation(slot), fd, users: 0, closed: false });
        continue;
      }
      const open = list[which % Math.max(1, list.length)];
      if (open === undefined) continue;
      if (what === "use") {
        equal(table.acquire(open.slot, open.generation, 4), !open.closed);
        if (!open.closed) open.users++;
      } else if (what === "done" && open.users > 0) {
        table.release(open.slot);
        open.users--;
        drop(open);
      } else if (what === "close" && !open.closed) {
        equal(table.close(open.slot), true);
        open.closed = true;
        drop(open);
      }
      equal(table.count, list.length);
      for (const { slot, fd } of list) {
        equal(table.fd(slot), fd);
        equal(isOpen(fd), true);
      }
    }
    for (const open of list) for (; open.users > 0; open.users--) table.release(open.slot);
    table.closeAll();
    equal(table.count, 0);
  },
);
