/**
 * What a row of the table is.
 *
 * @module
 */

import type { Place } from "./place.ts";

/** What one run of a row has measured. */
export interface Samples {
  /** In the row's unit, one per operation (or share of one). */
  readonly samples: readonly number[];
  /** Operations per second over the whole run. */
  readonly perSecond: number;
}

/** One row: the same for every daemon. */
export interface Row {
  readonly name: string;
  /** Microseconds of one operation. */
  readonly unit: "µs";
  /** One request at a time: guest and daemon share a processor, see `placement.ts`. */
  readonly oneProcessor?: boolean;
  /** Where it makes sense to speak of bytes. */
  readonly bytesPerOperation?: number;
  /** Runs for about so long. */
  run(place: Place, milliseconds: number): Samples;
}
