/**
 * A machine-code writer that knows labels and nothing about any processor.
 *
 * Each architecture writes its instructions as a line of assembler text beside the bytes of it. The
 * text is the comment, and the tests hand the collected listing to a real assembler and compare.
 *
 * @module
 */

/** Puts the distance from the place of a reference to its target into the instruction's bytes. */
export type Patch = (code: DataView, at: number, distance: number) => void;

/** A part of an instruction that depends on where a label or an address of the program lies. */
export interface Reference {
  readonly target: string;
  readonly width: number;
  readonly patch: Patch;
}

interface Fixup {
  readonly at: number;
  readonly reference: Reference;
}

/** Collects bytes, labels and references to labels; {@linkcode finish} puts the distances in. */
export class CodeBuilder {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: Fixup[] = [];
  readonly #listing: string[] = [];

  /** Names an address outside this code, as a distance from its first byte. */
  external(name: string, distance: number): void {
    this.#labels.set(name, distance);
    this.#listing.push(`.set ${name}, start ${distance < 0 ? "-" : "+"} ${Math.abs(distance)}`);
  }

  /** Names the place reached. */
  label(name: string): void {
    if (this.#labels.has(name)) throw new Error(`Cannot define label "${name}" twice`);
    this.#labels.set(name, this.#bytes.length);
    this.#listing.push(`${name}:`);
  }

  /** One instruction: its assembler text, then its bytes, references among them. */
  op(text: string, ...parts: (number | Reference)[]): void {
    this.#listing.push(text);
    for (const part of parts) {
      if (typeof part === "number") {
        this.#bytes.push(part);
      } else {
        this.#fixups.push({ at: this.#bytes.length, reference: part });
        for (let i = 0; i < part.width; i++) this.#bytes.push(0);
      }
    }
  }

  /** Data: the bytes as they are. */
  data(name: string, bytes: Uint8Array): void {
    this.label(name);
    if (bytes.length > 0) this.#listing.push(`.byte ${bytes.join(",")}`);
    for (const byte of bytes) this.#bytes.push(byte);
  }

  /** Pads with zeros up to the next multiple of a power of two. */
  align(alignment: number): void {
    this.#listing.push(`.balign ${alignment}, 0`);
    while (this.#bytes.length % alignment !== 0) this.#bytes.push(0);
  }

  /** The listing so far, in the syntax of GNU as. */
  listing(): string {
    return this.#listing.join("\n") + "\n";
  }

  /** The finished bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#bytes);
    const view = new DataView(bytes.buffer);
    for (const { at, reference } of this.#fixups) {
      const target = this.#labels.get(reference.target);
      if (target === undefined) throw new Error(`Cannot find label "${reference.target}"`);
      reference.patch(view, at, target - at);
    }
    return bytes;
  }
}

/** Strings, each ended by a NUL, as C programs want them. */
export function cStrings(strings: readonly string[]): Uint8Array {
  for (const text of strings) {
    if (text.includes("\0")) throw new Error("Cannot store a string with a NUL in it");
  }
  return new TextEncoder().encode(strings.map((text) => text + "\0").join(""));
}
