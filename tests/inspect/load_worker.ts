/**
 * A guest that keeps a daemon busy until it is told to stop: the same slots of inodes and handles are given to one file after another, and
 * versions move all the time.
 *
 * @module
 */
import { ROOT } from "../support/fuse_client.ts";
import { O, OP } from "../support/fuse_wire.ts";
import { name, words } from "../support/little_endian.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";

/** What TypeScript's library for workers would declare. */
interface DedicatedWorkerGlobalScope {
  onmessage: (event: MessageEvent<Load>) => void;
  postMessage(message: unknown): void;
  close(): void;
}

/** What the worker is told. */
export interface Load {
  readonly socketPath: string;
  readonly names: readonly string[];
  /** A word of shared memory: not 0 = stop. */
  readonly stop: Int32Array<SharedArrayBuffer>;
}

/** What it has asked for, by opcode; INIT is not among it. */
export type Asked = ReadonlyMap<number, number>;

function work({ socketPath, names, stop }: Load): Asked {
  const guest = VersionedGuest.connect(socketPath);
  const asked = new Map<number, number>();
  const count = (opcode: number) => asked.set(opcode, (asked.get(opcode) ?? 0) + 1);
  for (let round = 0; Atomics.load(stop, 0) === 0; round += 1) {
    const known: bigint[] = [];
    // Another order each time, so that a nodeid means another file.
    for (let i = 0; i < 8; i += 1) {
      const entry = names[(i * 7 + round) % names.length]!;
      const { entry: { nodeid } } = guest.lookup(ROOT, entry);
      count(OP.LOOKUP);
      known.push(nodeid);
      const fh = guest.fuse.open(nodeid, O.RDWR);
      count(OP.OPEN);
      guest.fuse.write(nodeid, fh, 0n, new Uint8Array(100));
      count(OP.WRITE);
      guest.fuse.release(nodeid, fh);
      count(OP.RELEASE);
    }
    guest.fuse.call(OP.LOOKUP, ROOT, name("missing"), { room: 144 });
    count(OP.LOOKUP);
    for (const nodeid of known) guest.fuse.send(OP.FORGET, nodeid, words(1n), { pid: 0 });
    asked.set(OP.FORGET, (asked.get(OP.FORGET) ?? 0) + known.length);
  }
  guest[Symbol.dispose]();
  return asked;
}

const scope = globalThis as unknown as DedicatedWorkerGlobalScope;
scope.onmessage = ({ data }: MessageEvent<Load>) => {
  scope.postMessage(work(data));
  scope.close();
};
