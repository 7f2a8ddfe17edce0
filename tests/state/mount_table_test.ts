import { equal } from "node:assert/strict";
import { MOUNT_COUNT_MAX } from "../../src/state/layout.ts";
import { MountTable } from "../../src/state/mount_table.ts";
import { FreshState, isOpen, someFd } from "./fresh_state.ts";

Deno.test("one descriptor for each mount; a second one for the same is closed", () => {
  using state = new FreshState();
  const table = new MountTable(state.memory);
  const [first, second, other] = [someFd(), someFd(), someFd()];
  equal(table.fd(30), -1);
  equal(table.insert(30, first), true);
  equal(table.insert(30, second), true);
  equal(table.insert(31, other), true);
  equal(table.fd(30), first);
  equal(table.fd(31), other);
  equal(isOpen(first), true);
  equal(isOpen(second), false);
});

Deno.test("a full table leaves the descriptor to the caller", () => {
  using state = new FreshState();
  const table = new MountTable(state.memory);
  for (let id = 0; id < MOUNT_COUNT_MAX; id++) equal(table.insert(1000 + id, 1_000_000 + id), true);
  const fd = someFd();
  equal(table.insert(7, fd), false);
  equal(table.fd(7), -1);
  equal(isOpen(fd), true);
});
