/**
 * How a command ends: exit codes, and the lines on stderr that go with them.
 *
 * @module
 */

/** What the program's exit codes mean. */
export const EXIT = {
  /** An orderly end. */
  OK: 0,
  /** Something could not be set up; one ERROR line says what. */
  FAILED: 1,
  /** The arguments are wrong. */
  USAGE: 2,
} as const;

/** Thrown for arguments that cannot be used; ends the program with {@linkcode EXIT.USAGE}. */
export class UsageError extends Error {
  /** The name that distinguishes it. */
  override readonly name = "UsageError";

  /** `usage` is the command's usage line, shown below the message. */
  constructor(message: string, readonly usage: string) {
    super(message);
  }
}

/** Thrown where a command has answered (help, version) and there is nothing left to do. */
export class Answered extends Error {
  /** The name that distinguishes it. */
  override readonly name = "Answered";
}

/** Writes a line to stdout, whole, before anything can end the process. */
export function printOut(text: string): void {
  writeAll(Deno.stdout, text + "\n");
}

/** Writes a line to stderr, whole. */
export function printError(text: string): void {
  writeAll(Deno.stderr, text + "\n");
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    let written = 0;
    while (written < bytes.length) written += stream.writeSync(bytes.subarray(written));
  } catch (error) {
    // `… --help | head`: the reader has seen enough.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
