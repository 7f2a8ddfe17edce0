/**
 * The DAX window as it is offered to a front end: its size, what it takes, and the channel to the front end; all in the state memory,
 * where the queues' threads find it.
 *
 * Nothing is set up before a front end asks for shared-memory regions: most have no use for them.
 *
 * @module
 */

import { DAX_WINDOW_UNIT, type WindowConfig } from "../config.ts";
import { type PaddedViews, ViewMount } from "../dax/view_mount.ts";
import { DAX_HEADER, MAPPING_COUNT_MAX, STATE_HEADER } from "../state/layout.ts";
import type { NativeMemory } from "../sys/native_memory.ts";

const VIEW_ROOT = (STATE_HEADER.DAX + DAX_HEADER.VIEW_ROOT) >>> 2;
const MAPPING_LIMIT = (STATE_HEADER.DAX + DAX_HEADER.MAPPING_LIMIT) >>> 3;
const WINDOW_SIZE = (STATE_HEADER.DAX + DAX_HEADER.WINDOW_SIZE) >>> 3;

/** One device's window. Used by the main thread. */
export class WindowOffer {
  readonly protocolBit: number;
  readonly #size: number;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;
  readonly #log: (level: "debug" | "info" | "warn", message: string) => void;
  /** The views' mount, once it was tried; a text says why there is none. */
  #views: PaddedViews | string | null = null;
  readonly #openViews: () => Promise<PaddedViews | string>;

  constructor(
    state: NativeMemory,
    { size, protocolBit }: WindowConfig,
    log: (level: "debug" | "info" | "warn", message: string) => void,
    openViews: () => Promise<PaddedViews | string> = () => ViewMount.open(),
  ) {
    this.#openViews = openViews;
    this.protocolBit = protocolBit;
    this.#size = size;
    this.#i32 = state.i32;
    this.#log = log;
    this.#f64 = state.f64;
  }

  /** A front end asks, that can bear so many mappings: finds out how files can be mapped. Returns the window's size in bytes. */
  async open(mappingCountMax: number): Promise<number> {
    if (this.#views === null) {
      this.#views = await this.#openViews();
      if (typeof this.#views === "string") {
        this.#log("info", `DAX: padded views cannot be had: ${this.#views}`);
      } else Atomics.store(this.#i32, VIEW_ROOT, this.#views.rootFd + 1);
    }
    const limit = Math.min(mappingCountMax, MAPPING_COUNT_MAX);
    const size = Math.min(this.#size, limit * DAX_WINDOW_UNIT);
    this.#f64[MAPPING_LIMIT] = limit;
    this.#f64[WINDOW_SIZE] = size;
    if (size < this.#size) {
      this.#log(
        "warn",
        `DAX: the window is ${size / 2 ** 20} MiB and not ${
          this.#size / 2 ** 20
        }: this front end bears no more than ${limit} mappings`,
      );
    } else this.#log("info", `DAX: the front end has a window of ${size / 2 ** 20} MiB`);
    return size;
  }

  /** Whether a file is a padded view: then it is there because we had it mapped. */
  hasMapped(fd: number): boolean {
    return typeof this.#views === "object" && this.#views !== null && this.#views.contains(fd);
  }

  /** Ends what was set up. No thread maps anything any more. */
  async close(): Promise<void> {
    if (this.#views !== null && typeof this.#views !== "string") await this.#views.close();
  }
}
