/**
 * A passthrough file system behind its server, in a thread of its own: it changes its thread's working directory,
 * umask, groups and identity, which the test runner's thread must not share.
 *
 * @module
 */

import type { PassthroughConfig } from "../../src/config.ts";
import { FuseServer } from "../../src/fuse/server.ts";
import { Session } from "../../src/fuse/session.ts";
import { PassthroughFs } from "../../src/passthrough/passthrough_fs.ts";
import { STATE_HEADER } from "../../src/state/layout.ts";
import { stateMemoryAt } from "../../src/state/state_memory.ts";
import { FakeBuffers } from "../fuse/fake_buffers.ts";

/** What the thread can be told. */
export type Order =
  | { readonly kind: "start"; readonly config: PassthroughConfig; readonly stateAddress: number }
  | { readonly kind: "request"; readonly bytes: Uint8Array; readonly writableSize: number }
  /** The thread's identity as the kernel sees it. */
  | { readonly kind: "identity" };

/** The answer to an order. */
export interface Outcome {
  /** The reply's bytes; null = none yet (PENDING). */
  readonly reply?: Uint8Array | null;
  readonly identity?: string;
  /** What the server warned of since the last order. */
  readonly warnings: string[];
  /** Set if the order threw: in the daemon, the queue's thread would have died. */
  readonly thrown?: string;
}

const buffers = new FakeBuffers();
const warnings: string[] = [];
let server: FuseServer | null = null;

function start(config: PassthroughConfig, stateAddress: number): void {
  const state = stateMemoryAt(stateAddress);
  const fs = new PassthroughFs(config, state);
  const session = new Session(state.u32, STATE_HEADER.SESSION >>> 2);
  server = new FuseServer(fs, session, {
    warn: (message) => warnings.push(message),
    trace: null,
    begin() {},
    count() {},
  });
}

function obey(order: Order): Omit<Outcome, "warnings"> {
  switch (order.kind) {
    case "start":
      start(order.config, order.stateAddress);
      return {};
    case "request": {
      buffers.load(order.bytes, order.writableSize);
      const size = server!.handle(buffers);
      return { reply: size < 0 ? null : buffers.reply(size) };
    }
    case "identity": {
      const status = Deno.readTextFileSync("/proc/thread-self/status");
      const wanted = /^(Uid|Gid|Groups|Umask|CapEff|CapPrm):/;
      return { identity: status.split("\n").filter((line) => wanted.test(line)).join("\n") };
    }
  }
}

interface Scope {
  onmessage: ((event: MessageEvent<Order>) => void) | null;
  postMessage(outcome: Outcome): void;
}

const scope = globalThis as unknown as Scope;
scope.onmessage = ({ data }) => {
  let outcome: Omit<Outcome, "warnings">;
  try {
    outcome = obey(data);
  } catch (error) {
    outcome = { thrown: (error as Error).stack ?? String(error) };
  }
  scope.postMessage({ ...outcome, warnings: warnings.splice(0) });
};
