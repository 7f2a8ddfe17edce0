/**
 * The state memory of a daemon as somebody else sees it: opened for reading, checked before anything is believed.
 *
 * @module
 */

import type { Description } from "../state/description.ts";
import {
  DESCRIPTION_OFFSET,
  DESCRIPTION_SIZE_MAX,
  QUEUE_COUNT_MAX,
  STATE_HEADER,
  STATE_LAYOUT_VERSION,
  STATE_MAGIC_HI,
  STATE_MAGIC_LO,
  STATE_SIZE,
} from "../state/layout.ts";
import { InspectError, NotStateError } from "./inspect_error.ts";
import { type Piece, ReadOnlyFile } from "./read_only_file.ts";

/** An open state memory whose magic, layout version and size are right. All else in it may be anything. */
export class StateReader implements Disposable {
  readonly name: string;
  /** The daemon's, as it says. In a pid namespace of its own that is not the number which it has here. */
  readonly pid: number;
  /** When it started, in milliseconds since 1970. */
  readonly started: number;
  readonly description: Description;
  /** Nobody writes to it any more. */
  isAbandoned = false;
  readonly #file: ReadOnlyFile;

  /** Opens it by a path, which may be one in /proc. Throws {@linkcode InspectError}. */
  constructor(path: string, name: string) {
    this.name = name;
    this.#file = new ReadOnlyFile(path, name);
    try {
      const header = this.#checkedHeader();
      this.pid = header.u32[STATE_HEADER.PID >>> 2]!;
      this.started = this.count(header.f64[STATE_HEADER.STARTED >>> 3]!, "STARTED");
      this.description = this.#readDescription(header);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /** The header page, now. */
  header(): Piece {
    return this.read(0, STATE_HEADER.SIZE);
  }

  /** A copy of `size` bytes from `offset` on. */
  read(offset: number, size: number): Piece {
    return this.#file.read(offset, size);
  }

  /** Fills `target` from `offset` on. */
  readInto(target: Uint8Array<ArrayBuffer>, offset: number): void {
    this.#file.readInto(target, offset);
  }

  /** A field of the header that is an index or a count, at most `most`. */
  word(header: Piece, offset: number, most: number, field: string): number {
    const value = header.u32[offset >>> 2]!;
    if (value > most) throw this.damaged(`${field} is ${value}, more than ${most}`);
    return value;
  }

  /** A double that must be a whole number that is not negative. */
  count(value: number, field: string): number {
    if (Number.isFinite(value) && value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
      return Math.trunc(value);
    }
    throw this.damaged(`${field} is ${value}`);
  }

  /** The error for contents that no daemon writes. */
  damaged(why: string): InspectError {
    return new InspectError(`${this.name} is damaged: ${why}`);
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #checkedHeader(): Piece {
    const { size } = this.#file;
    if (size < STATE_HEADER.SIZE) {
      throw new NotStateError(`${this.name} is no state memory: it has ${size} bytes`);
    }
    const header = this.header();
    const word = (offset: number) => header.u32[offset >>> 2]!;
    if (
      word(STATE_HEADER.MAGIC_LO) !== STATE_MAGIC_LO ||
      word(STATE_HEADER.MAGIC_HI) !== STATE_MAGIC_HI
    ) throw new NotStateError(`${this.name} is no state memory: its magic is another`);
    const version = word(STATE_HEADER.LAYOUT_VERSION);
    if (version !== STATE_LAYOUT_VERSION) {
      throw new InspectError(
        `${this.name} has layout version ${version}, this program reads ${STATE_LAYOUT_VERSION}: use the inspect of the daemon's own version`,
      );
    }
    const said = header.f64[STATE_HEADER.STATE_SIZE >>> 3]!;
    if (said !== STATE_SIZE) {
      throw this.damaged(`STATE_SIZE is ${said}, expected ${STATE_SIZE}`);
    }
    if (size < STATE_SIZE) {
      throw new InspectError(
        `${this.name} has been cut short: it has ${size} bytes, expected ${STATE_SIZE}`,
      );
    }
    return header;
  }

  #readDescription(header: Piece): Description {
    const size = this.word(
      header,
      STATE_HEADER.DESCRIPTION_SIZE,
      DESCRIPTION_SIZE_MAX,
      "DESCRIPTION_SIZE",
    );
    if (size === 0) throw new InspectError(`${this.name}: the daemon has not come up yet`);
    const bytes = this.read(DESCRIPTION_OFFSET, DESCRIPTION_SIZE_MAX).u8.subarray(0, size);
    let parsed: unknown;
    try {
      parsed = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      parsed = null;
    }
    if (!isDescription(parsed)) throw this.damaged("its description is none");
    return parsed;
  }
}

/** Types only: a later version may say more. */
function isDescription(value: unknown): value is Description {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  const isTextOrNull = (name: string) => fields[name] === null || typeof fields[name] === "string";
  const queues = fields.requestQueues;
  return ["version", "socket", "sharedDir", "cache", "dax", "inodeFileHandles"]
    .every((name) => typeof fields[name] === "string") &&
    ["readonly", "writeback", "xattr"].every((name) => typeof fields[name] === "boolean") &&
    ["tag", "versionTable"].every(isTextOrNull) &&
    typeof queues === "number" && Number.isInteger(queues) && queues >= 1 &&
    queues < QUEUE_COUNT_MAX;
}
