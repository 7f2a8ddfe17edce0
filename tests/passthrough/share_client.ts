/**
 * A guest of one passthrough file system, without rings: FUSE requests in, replies out; and what the daemon holds
 * meanwhile.
 *
 * @module
 */

import { PASSTHROUGH_DEFAULTS, type PassthroughConfig } from "../../src/config.ts";
import { HandleTable } from "../../src/state/handle_table.ts";
import { InodeTable } from "../../src/state/inode_table.ts";
import { LockTable } from "../../src/state/lock_table.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { type Entry, initBody, LINUX_INIT_FLAGS, O, OP, readEntry } from "../support/fuse_wire.ts";
import { NOTHING_ELSE } from "../state/fresh_state.ts";
import { concat, name, viewOf, words } from "../support/little_endian.ts";
import { TempTree } from "../support/temp_tree.ts";
import type { Order, Outcome } from "./fs_worker.ts";

/** Who asks, and how much room the reply has. */
export interface Circumstances {
  readonly uid?: number;
  readonly gid?: number;
  readonly writableSize?: number;
  /** Extension blocks at the end of the request, a multiple of 8 bytes. */
  readonly extensions?: Uint8Array;
}

/** A reply taken apart. */
export interface Answer {
  /** 0 or a positive errno. */
  readonly error: number;
  readonly body: Uint8Array;
}

/** One thread with its file system. */
export class ServerThread {
  readonly #worker = new Worker(new URL("./fs_worker.ts", import.meta.url), { type: "module" });
  #unique = 0n;

  async start(config: PassthroughConfig, stateAddress: number): Promise<void> {
    await this.#order({ kind: "start", config, stateAddress });
  }

  /** One request. `null` while it cannot be answered yet. */
  async tryCall(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array,
    circumstances: Circumstances = {},
  ): Promise<Answer | null> {
    const extensions = circumstances.extensions ?? new Uint8Array();
    const length = 40 + body.length + extensions.length;
    this.#unique += 2n;
    const header = concat(
      words(length, opcode, this.#unique, nodeid),
      words(circumstances.uid ?? 0, circumstances.gid ?? 0, 1, extensions.length / 8),
    );
    const writableSize = circumstances.writableSize ?? 16 + 1024 * 1024;
    const bytes = concat(header, body, extensions);
    const { reply } = await this.#order({ kind: "request", bytes, writableSize });
    if (reply === null || reply === undefined) return null;
    // No reply at all: FORGET, or not even room for a header.
    if (reply.length === 0) return { error: 0, body: reply };
    const view = viewOf(reply);
    if (view.getUint32(0, true) !== reply.length) throw new Error("a reply's length is wrong");
    if (view.getBigUint64(8, true) !== this.#unique) throw new Error("a reply to something else");
    return { error: -view.getInt32(4, true), body: reply.slice(16) };
  }

  /** The same for requests that are answered at once. */
  async call(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(),
    circumstances: Circumstances = {},
  ): Promise<Answer> {
    const answer = await this.tryCall(opcode, nodeid, body, circumstances);
    if (answer === null) throw new Error(`opcode ${opcode} is pending`);
    return answer;
  }

  /** Uid, gid, groups, umask and capabilities of the thread. */
  async identity(): Promise<string> {
    return (await this.#order({ kind: "identity" })).identity!;
  }

  #order(order: Order): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }: MessageEvent<Outcome>) => {
        if (data.thrown !== undefined) reject(new Error(`the queue's thread died: ${data.thrown}`));
        else if (data.warnings.length > 0) reject(new Error(data.warnings.join("\n")));
        else resolve(data);
      };
      this.#worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      this.#worker.postMessage(order);
    });
  }

  close(): void {
    this.#worker.terminate();
  }
}

/** A temporary directory, served by one thread or several over the same tables. */
export class ShareClient implements AsyncDisposable {
  readonly tree = new TempTree();
  readonly state = StateMemory.create();
  readonly locks = new LockTable(this.state.memory);
  readonly inodes = new InodeTable(this.state.memory, NOTHING_ELSE);
  readonly handles = new HandleTable(this.state.memory, () => {});
  readonly threads: ServerThread[] = [];

  private constructor() {}

  static async start(
    options: Partial<PassthroughConfig> = {},
    other: { readonly threads?: number; readonly flags?: bigint } = {},
  ): Promise<ShareClient> {
    const client = new ShareClient();
    const config = { ...PASSTHROUGH_DEFAULTS, ...options, sharedDir: client.tree.root };
    for (let i = 0; i < (other.threads ?? 1); i++) {
      const thread = new ServerThread();
      client.threads.push(thread);
      await thread.start(config, client.state.address);
    }
    await client.init(other.flags);
    return client;
  }

  get first(): ServerThread {
    return this.threads[0]!;
  }

  async init(flags: bigint = LINUX_INIT_FLAGS): Promise<void> {
    const { error } = await this.first.call(OP.INIT, 0n, initBody(7, 45, flags));
    if (error !== 0) throw new Error(`INIT failed with errno ${error}`);
  }

  call(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(),
    circumstances: Circumstances = {},
  ): Promise<Answer> {
    return this.first.call(opcode, nodeid, body, circumstances);
  }

  /** LOOKUP; throws if there is no such name. */
  async lookup(parent: bigint, entryName: string): Promise<Entry> {
    const { error, body } = await this.call(OP.LOOKUP, parent, name(entryName));
    if (error !== 0) throw new Error(`LOOKUP ${entryName} failed with errno ${error}`);
    return readEntry(body);
  }

  async forget(nodeid: bigint, count = 1n): Promise<void> {
    await this.call(OP.FORGET, nodeid, words(count));
  }

  /** OPEN or OPENDIR; throws where that fails. */
  async open(nodeid: bigint, flags: number = O.RDWR, opcode: number = OP.OPEN): Promise<bigint> {
    const { error, body } = await this.call(opcode, nodeid, words(flags, 0));
    if (error !== 0) throw new Error(`OPEN failed with errno ${error}`);
    return viewOf(body).getBigUint64(0, true);
  }

  async release(nodeid: bigint, fh: bigint, opcode: number = OP.RELEASE): Promise<void> {
    const { error } = await this.call(opcode, nodeid, words(fh, 0, 0, 0n));
    if (error !== 0) throw new Error(`RELEASE failed with errno ${error}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.first.call(OP.DESTROY, 0n);
    for (const thread of this.threads) thread.close();
    // The state memory stays mapped: a Worker's end is not awaited, and its views must not outlive the mapping.
    this.tree[Symbol.dispose]();
  }
}

/** Descriptors of this process now: all its threads share one table. */
export function descriptorCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}
