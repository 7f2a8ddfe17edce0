/**
 * The colours of files and ages: of the 6 × 6 × 6 cube that terminals with 256 colours have, so that the page shows the same ones.
 *
 * @module
 */

/** Told apart on light and dark grounds; neighbours differ most. */
const FILES: readonly number[] = [
  ...[75, 208, 78, 170, 221, 44, 203, 141, 113, 179, 69, 211],
  ...[37, 166, 149, 97, 214, 31, 131, 72, 105, 185, 167, 110],
];
/** From just mapped to old. */
const AGE_CLASSES: readonly number[] = [220, 214, 208, 167, 97, 61];

/** The steps of the cube's three axes. */
const STEPS = [0, 95, 135, 175, 215, 255];
const CUBE_FIRST = 16;

/** A terminal's colour number for the n-th file. */
export function fileColour(n: number): number {
  return FILES[n % FILES.length]!;
}

/** A terminal's colour number for a class of age. */
export function ageColour(n: number): number {
  return AGE_CLASSES[Math.min(n, AGE_CLASSES.length - 1)]!;
}

/** The same colour for the page: "#5fafff". */
export function hexColour(colour: number): string {
  const cube = colour - CUBE_FIRST;
  const parts = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6];
  return "#" + parts.map((step) => STEPS[step]!.toString(16).padStart(2, "0")).join("");
}
