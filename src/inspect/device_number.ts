/**
 * Numbers of devices and inodes, as people read them.
 *
 * @module
 */

/** "254:1", from the major and minor number as the tables keep them. */
export function deviceNumber(low: number, high: number): string {
  return `${high}:${low}`;
}

/** A number of 64 bits in decimal. */
export function wideNumber(low: number, high: number): string {
  return `${(BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)}`;
}
