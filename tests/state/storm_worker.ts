/**
 * One of several threads that work on the same tables as fast as they can.
 *
 * @module
 */

import { InodeKey, InodeTable } from "../../src/state/inode_table.ts";
import { HandleTable } from "../../src/state/handle_table.ts";
import { Mutex } from "../../src/state/mutex.ts";
import { stateMemoryAt } from "../../src/state/state_memory.ts";
import { libc } from "../../src/sys/libc.ts";
import { NOTHING_ELSE } from "./fresh_state.ts";

/** What a thread does. `start` is a word of shared memory that all threads wait for. */
export interface Storm {
  readonly kind: "mutex" | "inodes" | "handles";
  readonly address: number;
  readonly start: SharedArrayBuffer;
  readonly rounds: number;
  readonly seed: number;
}

/** What it counted. */
export interface StormResult {
  readonly opened: number;
  readonly closedOwn: number;
  readonly error: string | null;
}

/** Word of the state memory that the mutex storm counts in, and the mutex beside it: a part of the header nobody uses. */
export const COUNTED_WORD = 3000;
const STORM_MUTEX_OFFSET = 3008;
const INO_COUNT = 8;

function countUnderMutex({ address, rounds }: Storm): StormResult {
  const memory = stateMemoryAt(address);
  const mutex = new Mutex(memory, STORM_MUTEX_OFFSET);
  const word = COUNTED_WORD >>> 2;
  for (let i = 0; i < rounds; i++) {
    mutex.lock();
    // Neither load nor store is atomic: without the mutex, counts get lost.
    memory.u32[word] = memory.u32[word]! + 1;
    mutex.unlock();
  }
  return { opened: 0, closedOwn: 0, error: null };
}

/** Numbers that differ between threads and repeat with the seed. */
function generator(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function stormInodes({ address, rounds, seed }: Storm): StormResult {
  const table = new InodeTable(stateMemoryAt(address), NOTHING_ELSE);
  const random = generator(seed);
  const key = new InodeKey();
  /** Lookups that this thread was given, by nodeid: a guest that counts properly. */
  const owed: number[] = [];
  let opened = 0;
  let closedOwn = 0;
  for (let i = 0; i < rounds; i++) {
    key.inoLo = 100 + random() % INO_COUNT;
    const action = random() % 4;
    if (action === 0) {
      const fd = libc.eventfd(0, 0);
      if (fd < 0) return { opened, closedOwn, error: "out of descriptors: they leak" };
      opened++;
      const nodeid = table.insert(key, fd);
      if (!table.inserted) {
        libc.close(fd);
        closedOwn++;
      }
      owed.push(nodeid);
    } else if (action === 1) {
      const nodeid = table.find(key, 1);
      if (nodeid !== 0) owed.push(nodeid);
    } else if (owed.length > 0) {
      const at = random() % owed.length;
      const nodeid = owed[at]!;
      if (!table.acquire(nodeid)) {
        return { opened, closedOwn, error: `nodeid ${nodeid} is gone though it is still owed` };
      }
      const fd = table.fd(nodeid);
      // F_GETFD: a pinned inode's descriptor is open.
      if (libc.fcntl(fd, 1, null) < 0) {
        return { opened, closedOwn, error: `descriptor ${fd} of a pinned inode is closed` };
      }
      if (action === 2) {
        table.forget(nodeid, 1);
        owed[at] = owed.at(-1)!;
        owed.pop();
      }
      if (table.fd(nodeid) !== fd) return { opened, closedOwn, error: "a pinned inode changed" };
      table.release(nodeid);
    }
  }
  for (const nodeid of owed) table.forget(nodeid, 1);
  return { opened, closedOwn, error: null };
}

function stormHandles({ address, rounds, seed }: Storm): StormResult {
  const table = new HandleTable(stateMemoryAt(address), () => {});
  const random = generator(seed);
  const own: [slot: number, generation: number][] = [];
  let opened = 0;
  for (let i = 0; i < rounds; i++) {
    const action = random() % 4;
    if (action === 0) {
      const fd = libc.eventfd(0, 0);
      if (fd < 0) return { opened, closedOwn: 0, error: "out of descriptors: they leak" };
      opened++;
      const slot = table.insert(fd, 5, 0);
      own.push([slot, table.generation(slot)]);
    } else if (action === 1 && own.length > 0) {
      const [slot, generation] = own.pop()!;
      if (!table.acquire(slot, generation, 5)) {
        return { opened, closedOwn: 0, error: "a handle is lost" };
      }
      table.close(slot);
      table.release(slot);
    } else {
      // Somebody else's, or nobody's: a guess as a hostile guest makes it.
      const slot = random() % 64;
      const generation = random() % 200;
      if (table.acquire(slot, generation, 5)) {
        if (libc.fcntl(table.fd(slot), 1, null) < 0) {
          return { opened, closedOwn: 0, error: "a pinned handle's descriptor is closed" };
        }
        table.release(slot);
      }
    }
  }
  for (const [slot] of own) table.close(slot);
  return { opened, closedOwn: 0, error: null };
}

const STORMS = { mutex: countUnderMutex, inodes: stormInodes, handles: stormHandles };

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as {
    onmessage: ((event: MessageEvent<Storm>) => void) | null;
    postMessage(result: StormResult | "ready"): void;
  };
  scope.onmessage = ({ data }) => {
    scope.postMessage("ready");
    Atomics.wait(new Int32Array(data.start), 0, 0);
    try {
      scope.postMessage(STORMS[data.kind](data));
    } catch (error) {
      scope.postMessage({
        opened: 0,
        closedOwn: 0,
        error: (error as Error).stack ?? String(error),
      });
    }
  };
}
