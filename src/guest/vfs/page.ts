/**
 * A page of a file, as whoever maps the file sees it.
 *
 * @module
 */

import type { DaxPage } from "./dax_data.ts";
import type { Block } from "./page_cache.ts";

/** A page of a file in memory: what a page fault of a mapping gives. */
export interface Page {
  /** The memory that it is in, and where. */
  readonly bytes: Uint8Array;
  readonly offset: number;
  /** What keeps it: a block of the page cache with the page's bit in its masks, or a range of the DAX window. */
  readonly kept: { readonly block: Block; readonly bit: number } | DaxPage;
}
