/**
 * A FUSE client that keeps its own account of what it asked and what it was answered.
 *
 * @module
 */
import type { FuseClient, Reply, RequestOptions } from "../support/fuse_client.ts";
import { errno } from "../support/libc.ts";

/** One opcode's account. Bytes are those of requests and replies, headers included. */
export interface Account {
  requests: number;
  errors: number;
  bytesIn: number;
  bytesOut: number;
  readonly errnos: Record<string, number>;
}

const NAMES = new Map<number, string>(
  Object.entries(errno).map(([name, number]) => [number, name]),
);

/** Counts what goes through it. */
export class CountingClient {
  readonly accounts = new Map<number, Account>();

  constructor(readonly fuse: FuseClient) {}

  call(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(0),
    options: RequestOptions = {},
  ): Reply {
    const reply = this.fuse.call(opcode, nodeid, body, options);
    const account = this.#account(opcode);
    account.requests += 1;
    account.bytesIn += 40 + body.length;
    account.bytesOut += 16 + reply.body.length;
    if (reply.error < 0) {
      account.errors += 1;
      const name = NAMES.get(-reply.error) ?? `errno ${-reply.error}`;
      account.errnos[name] = (account.errnos[name] ?? 0) + 1;
    }
    return reply;
  }

  #account(opcode: number): Account {
    const known = this.accounts.get(opcode);
    if (known !== undefined) return known;
    const made = { requests: 0, errors: 0, bytesIn: 0, bytesOut: 0, errnos: {} };
    this.accounts.set(opcode, made);
    return made;
  }
}
