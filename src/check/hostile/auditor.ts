/**
 * Watches what lies beside the share, from outside: contents, modes, owners, times, numbers of links; and, by inotify,
 * whether anything there is opened, read, written or renamed.
 *
 * @module
 */

import { SetupError } from "../../setup_error.ts";
import { errnoName } from "../../sys/errno.ts";
import { libc, status } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import { IN_CLOEXEC, IN_NONBLOCK, INOTIFY_EVENT } from "../../wire/inotify.ts";

/** The name of the directory that nobody may touch. */
export const CANARY = "canary";
const FILES: readonly string[] = ["secret", "inner/secret", "script"];
const ALL_EVENTS = 0xfff;
const EVENTS_SIZE = 65536;

/** The canary of one place. */
export class Auditor {
  /** What is in its files. */
  readonly token: string = `secret-${crypto.randomUUID()}`;
  readonly path: string;
  readonly #events = NativeMemory.allocate(EVENTS_SIZE);
  #notify = -1;
  #before: readonly string[] = [];

  /** Makes the canary in `directory`. */
  constructor(directory: string) {
    this.path = `${directory}/${CANARY}`;
    Deno.mkdirSync(`${this.path}/inner`, { recursive: true });
    for (const name of FILES) Deno.writeTextFileSync(`${this.path}/${name}`, `${this.token}\n`);
    Deno.chmodSync(`${this.path}/script`, 0o4755);
  }

  /** Numbers of the inodes there, and of the directory in which both lie. */
  inodes(): Set<bigint> {
    const paths = ["", "/inner", "/..", ...FILES.map((name) => `/${name}`)];
    return new Set(paths.map((name) => BigInt(Deno.lstatSync(this.path + name).ino ?? 0)));
  }

  /** From here on nobody may touch anything. Throws {@linkcode SetupError} if that could not be seen. */
  begin(): void {
    this.#before = this.#look();
    this.#notify = status(libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (this.#notify < 0) throw blind(this.#notify);
    for (const name of ["", "/inner", ...FILES.map((file) => `/${file}`)]) {
      this.#events.setCString(0, this.path + name);
      const watch = status(
        libc.inotify_add_watch(this.#notify, this.#events.pointerAt(0), ALL_EVENTS),
      );
      if (watch < 0) throw blind(watch);
    }
  }

  /** What was touched since; nothing is good. */
  end(): string[] {
    const found = new Set<string>();
    if (this.#notify >= 0) {
      const size = status(libc.read(this.#notify, this.#events.pointerAt(0), EVENTS_SIZE));
      for (let at = 0; at + INOTIFY_EVENT.SIZE <= size;) {
        const mask = this.#events.view.getUint32(at + INOTIFY_EVENT.MASK, true);
        found.add(`outside: ${eventNames(mask)}`);
        at += INOTIFY_EVENT.SIZE + this.#events.view.getUint32(at + INOTIFY_EVENT.LEN, true);
      }
      libc.close(this.#notify);
      this.#notify = -1;
    }
    const after = this.#look();
    this.#before.forEach((line, i) => {
      if (line !== after[i]) found.add(`outside: "${line}" became "${after[i]}"`);
    });
    for (const name of FILES) {
      const text = ifThere(() => Deno.readTextFileSync(`${this.path}/${name}`));
      if (text !== `${this.token}\n`) found.add(`outside: ${name} is not what it was`);
    }
    return [...found];
  }

  #look(): string[] {
    const names = ["", "/inner", ...FILES.map((name) => `/${name}`)];
    const lines = names.map((name) => {
      const info = ifThere(() => Deno.lstatSync(this.path + name));
      if (info === null) return `${CANARY}${name} is gone`;
      const { mode, uid, gid, size, nlink, mtime, ctime, atime } = info;
      const times = [mtime, ctime].map((time) => time?.getTime());
      // The times of last access of directories move when we list them ourselves.
      const read = name.includes("secret") || name.includes("script") ? atime?.getTime() : "";
      return [`${CANARY}${name}`, mode?.toString(8), uid, gid, size, nlink, ...times, read].join(
        " ",
      );
    });
    const entries = ifThere(() => [...Deno.readDirSync(this.path)]) ?? [];
    return [...lines, entries.map(({ name }) => name).sort().join(" ")];
  }
}

function blind(error: number): SetupError {
  const why = `${errnoName(error)} (fs.inotify.max_user_instances, max_user_watches)`;
  return new SetupError(`What lies outside the share cannot be watched: ${why}`);
}

/** A guest that gets out may leave nothing, or something else in the place of it. */
function ifThere<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}

const EVENTS = ["read", "written", "attributes changed", "written and closed", "closed", "opened"]
  .concat(["moved away", "moved here", "made", "removed", "removed", "moved"]);

function eventNames(mask: number): string {
  return EVENTS.filter((_, bit) => (mask >>> bit & 1) === 1).join(", ") || `event ${mask}`;
}
