/**
 * Random numbers that can be had again: mulberry32.
 *
 * @module
 */

/** A function that gives whole numbers below its argument. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

/** VIRTIOFSD_TS_SEED, or any. */
export function seedOf(): number {
  const given = Deno.env.get("VIRTIOFSD_TS_SEED");
  return given === undefined ? crypto.getRandomValues(new Uint32Array(1))[0]! : Number(given);
}

/** Steps of a random test: VIRTIOFSD_TS_STEPS, or what takes a moment. */
export const STEPS: number = Number(Deno.env.get("VIRTIOFSD_TS_STEPS") ?? 20_000);
