/**
 * How much room text takes on a terminal, and text that does nothing to one.
 *
 * @module
 */

/** Characters that move the cursor, change colours, hide or turn text around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** Unicode's wide ones (East Asian Width W and F), by their blocks. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const COMBINING = /\p{Mn}|\p{Me}/u;

/** The text with everything that is not to be seen as an escape: names of files may hold anything. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

/** Columns that a printable text takes. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** The text in at most `width` columns: what is too long loses its middle, or its end. */
export function shortened(text: string, width: number, from: "middle" | "end"): string {
  if (displayWidth(text) <= width) return text;
  if (width <= 1) return "…".slice(0, width);
  const room = width - 1;
  // The end of a path says more than its beginning.
  const head = from === "end" ? room : Math.floor(room / 3);
  const characters = [...text];
  return `${taken(characters, head)}…${taken(characters.toReversed(), room - head, true)}`;
}

function taken(characters: readonly string[], width: number, backwards = false): string {
  const kept: string[] = [];
  let used = 0;
  for (const character of characters) {
    used += characterWidth(character);
    if (used > width) break;
    kept.push(character);
  }
  return (backwards ? kept.reverse() : kept).join("");
}

function characterWidth(character: string): number {
  if (COMBINING.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
