/**
 * The directory that the demo serves, and what its guests are to do in it.
 *
 * @module
 */

/** One guest's errand in the root of the share. */
export interface GuestTask {
  /** A file made by the host. */
  readonly readName: string;
  /** Its contents. */
  readonly readText: string;
  /** A file that the guest makes. */
  readonly writeName: string;
  /** What it writes. */
  readonly writeText: string;
}

const HELLO = "Hello from the host.\n";

/** Fills `directory` with the sample. */
export function makeSample(directory: string): void {
  Deno.mkdirSync(`${directory}/docs`, { recursive: true });
  Deno.writeTextFileSync(`${directory}/hello.txt`, HELLO);
  Deno.writeTextFileSync(`${directory}/docs/numbers.txt`, "1\n2\n3\n");
}

/** The errand of the guest called `guest`. */
export function taskFor(guest: string): GuestTask {
  return {
    readName: "hello.txt",
    readText: HELLO,
    writeName: `from-${guest}.txt`,
    writeText: `Written by the ${guest} guest.\n`,
  };
}

/** Whether the guest's file has arrived on the host, as it was written. */
export function arrived(directory: string, task: GuestTask): boolean {
  try {
    return Deno.readTextFileSync(`${directory}/${task.writeName}`) === task.writeText;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
