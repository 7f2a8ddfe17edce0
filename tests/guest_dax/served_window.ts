/**
 * A directory that daemons with DAX windows serve, and guests of them.
 *
 * @module
 */

import { Guest, type GuestOptions } from "../../mod.ts";
import { Subject } from "../../src/cli/subject.ts";
import type { Caller } from "../../src/guest/client/caller.ts";
import { closeSession, openSession, type Session } from "../../src/guest/session.ts";
import { GuestCalls } from "../../src/guest/vfs/calls.ts";
import { Process } from "../../src/guest/vfs/process.ts";

const CALLER: Caller = { uid: 0, gid: 0, groups: [], umask: 0o022, pid: Deno.pid };

/** A directory of the host. */
export class ServedWindow implements AsyncDisposable {
  readonly directory: string;
  readonly #args: readonly string[];
  readonly #subjects: Subject[] = [];
  readonly #guests: Guest[] = [];
  readonly #sessions: Session[] = [];

  /** `args` are options of the daemons. */
  constructor(...args: string[]) {
    this.directory = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "virtiofsd-ts-dax-" });
    Deno.chmodSync(this.directory, 0o755);
    this.#args = ["--cache", "auto", ...args];
  }

  /** A path on the host. */
  at(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** A guest of a daemon of its own. */
  async guest(options: Omit<GuestOptions, "socketPath"> = {}): Promise<Guest> {
    const guest = await Guest.connect({ socketPath: await this.#daemon(), ...options });
    this.#guests.push(guest);
    return guest;
  }

  /** The same, for system calls that the file API does not have. */
  async calls(options: Omit<GuestOptions, "socketPath"> = {}): Promise<GuestCalls> {
    const session = await openSession({ socketPath: await this.#daemon(), ...options }, CALLER);
    this.#sessions.push(session);
    const { volume } = session;
    volume.root.holds++;
    return new GuestCalls(volume, new Process(CALLER, volume.root));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const guest of this.#guests) await guest.close();
    for (const session of this.#sessions) await closeSession(session);
    for (const subject of this.#subjects) await subject.close();
    await Deno.remove(this.directory, { recursive: true });
  }

  async #daemon(): Promise<string> {
    const source = { kind: "directory", directory: this.directory, args: this.#args } as const;
    const subject = await Subject.open(source);
    this.#subjects.push(subject);
    return subject.socketPath;
  }
}

/** Bytes that tell their place and a seed. */
export function pattern(size: number, seed = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >>> 12) * 7 + seed) & 0xff;
  return bytes;
}

/** Whether two arrays are the same. */
export function same(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}

/** Requests of an opcode so far. */
export function requests(guest: Guest, opcode: string): number {
  return guest.traffic.find(({ name }) => name === opcode)?.requests ?? 0;
}
