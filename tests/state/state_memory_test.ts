import { IntervalNodes } from "../../src/intervals/interval_tree.ts";
import { deepEqual, equal } from "node:assert/strict";
import {
  BUCKET_COUNT,
  bucketOf,
  bucketStart,
  COUNTER,
  Counters,
} from "../../src/state/counters.ts";
import * as layout from "../../src/state/layout.ts";
import { StateMemory, stateMemoryAt } from "../../src/state/state_memory.ts";
import { OPCODE_COUNT } from "../../src/wire/fuse.ts";

Deno.test("the state memory is found by its name and magic, by another process as well", () => {
  const state = StateMemory.create();
  const fds = [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      return [Deno.readLinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return [];
    }
  });
  equal(fds.filter((target) => target.includes(layout.STATE_MEMORY_NAME)).length >= 1, true);
  equal(new TextDecoder().decode(state.memory.u8.slice(0, 8)), "virtfsts");
  equal(state.memory.u32[2], layout.STATE_LAYOUT_VERSION);
  equal(state.memory.u32[3], Deno.pid);
  state.close();
});

Deno.test("tables follow each other without touching", () => {
  const areas: [string, number, number][] = [
    ["header", 0, layout.STATE_HEADER.SIZE],
    ["mounts", layout.MOUNT_TABLE_OFFSET, layout.MOUNT_COUNT_MAX * layout.MOUNT_SLOT.SIZE],
    ["locks", layout.LOCK_TABLE_OFFSET, layout.LOCK_OWNER_COUNT_MAX * layout.LOCK_SLOT.SIZE],
    ["handles", layout.HANDLE_TABLE_OFFSET, layout.HANDLE_COUNT_MAX * layout.HANDLE_SLOT.SIZE],
    ["hash", layout.INODE_HASH_OFFSET, layout.INODE_COUNT_MAX * 4],
    ["inodes", layout.INODE_TABLE_OFFSET, layout.INODE_COUNT_MAX * layout.INODE_SLOT.SIZE],
    ["counters", layout.COUNTERS_OFFSET, layout.QUEUE_COUNT_MAX * layout.COUNTERS_QUEUE_SIZE],
    [
      "errnos",
      layout.ERRNO_COUNTERS_OFFSET,
      layout.QUEUE_COUNT_MAX * layout.ERRNO_COUNTERS_QUEUE_SIZE,
    ],
    [
      "queue records",
      layout.QUEUE_RECORDS_OFFSET,
      layout.QUEUE_COUNT_MAX * layout.QUEUE_RECORD.SIZE,
    ],
    ["connection", layout.CONNECTION_OFFSET, layout.CONNECTION.SIZE],
    ["description", layout.DESCRIPTION_OFFSET, layout.DESCRIPTION_SIZE_MAX],
    [
      "mapping nodes",
      layout.MAPPING_NODES_OFFSET,
      IntervalNodes.byteSize(layout.MAPPING_COUNT_MAX),
    ],
    [
      "mappings",
      layout.MAPPING_TABLE_OFFSET,
      (layout.MAPPING_COUNT_MAX + 1) * layout.MAPPING_SLOT.SIZE,
    ],
    ["demotions", layout.DEMOTION_TABLE_OFFSET, layout.DEMOTION_COUNT * layout.DEMOTION.SIZE],
    ["dax inodes", layout.DAX_INODE_TABLE_OFFSET, layout.INODE_COUNT_MAX * layout.DAX_INODE.SIZE],
    [
      "data regions",
      layout.DATA_REGION_OFFSET,
      layout.DATA_REGION_COUNT_MAX * layout.DATA_REGION.SIZE,
    ],
    ["version references", layout.VERSION_REFERENCES_OFFSET, layout.VERSION_SLOT_COUNT_MAX * 4],
  ];
  let end = 0;
  for (const [what, offset, size] of areas) {
    equal(offset, end, what);
    equal(offset % 8, 0, what);
    end = offset + size;
  }
  equal(end, layout.STATE_SIZE);
});

Deno.test("fields of a slot, and of the header, do not overlap", () => {
  const { SIZE, HANDLE, HANDLE_SIZE_MAX, ...fields } = layout.INODE_SLOT;
  equal(HANDLE + HANDLE_SIZE_MAX <= SIZE, true);
  for (
    const offsets of [
      { ...fields, HANDLE },
      layout.HANDLE_SLOT,
      layout.LOCK_SLOT,
      layout.STATE_HEADER,
      layout.DAX_HEADER,
      layout.MAPPING_SLOT,
      layout.DAX_INODE,
      layout.DEMOTION,
      layout.DATA_REGION,
      layout.VERSIONS_HEADER,
    ]
  ) {
    const list = Object.entries(offsets).filter(([key]) => key !== "SIZE").map(([, offset]) =>
      offset
    );
    equal(new Set(list).size, list.length);
    equal(list.every((offset) => offset % 4 === 0), true);
  }
  const mutexes = layout.STATE_HEADER.DIRECTORY_MUTEXES + 4 * layout.DIRECTORY_MUTEX_COUNT;
  equal(mutexes <= layout.STATE_HEADER.SIZE, true);
});

Deno.test("counters are kept by queue and opcode, seen from any thread's view", () => {
  const state = StateMemory.create();
  const first = new Counters(state.memory, 0);
  const last = new Counters(state.memory, layout.QUEUE_COUNT_MAX - 1);
  first.count(15, 0, 80, 4112, 7000);
  first.count(15, -5, 80, 16, 1000);
  last.count(OPCODE_COUNT - 1, -200, 40, 16, 2);
  // Opcodes that do not exist count as 0.
  first.count(OPCODE_COUNT, 0, 40, 16, 1);
  first.count(0xffffffff, -38, 40, 16, 2 ** 40);
  const seen = new Counters(stateMemoryAt(state.address), 0);
  deepEqual([seen.requests(15), seen.errors(15), seen.requests(0), seen.errors(0)], [2, 1, 2, 1]);
  deepEqual([seen.value(15, COUNTER.BYTES_IN), seen.value(15, COUNTER.BYTES_OUT)], [160, 4128]);
  deepEqual([seen.value(15, COUNTER.NANOSECONDS), seen.value(15, COUNTER.NANOSECONDS_MAX)], [
    8000,
    7000,
  ]);
  deepEqual([seen.errorsOf(15, 5), seen.errorsOf(15, 38), seen.errorsOf(0, 38)], [1, 0, 1]);
  deepEqual([last.requests(OPCODE_COUNT - 1), last.requests(15)], [1, 0]);
  // An errno that has no number of its own.
  equal(last.errorsOf(OPCODE_COUNT - 1, 0), 1);
  equal(OPCODE_COUNT * COUNTER.SIZE * 8 <= layout.COUNTERS_QUEUE_SIZE, true);
  equal(OPCODE_COUNT * layout.ERRNO_COUNT * 8 <= layout.ERRNO_COUNTERS_QUEUE_SIZE, true);
  // The memory stays mapped until the end: `seen` has views of it.
});

Deno.test("a duration's bucket is the one that it lies in", () => {
  for (let bucket = 1; bucket < BUCKET_COUNT; bucket++) {
    equal(bucketOf(bucketStart(bucket)), bucket);
    equal(bucketOf(bucketStart(bucket) * 0.999), bucket - 1);
  }
  equal(bucketOf(0), 0);
  equal(bucketOf(1e15), BUCKET_COUNT - 1);
});
