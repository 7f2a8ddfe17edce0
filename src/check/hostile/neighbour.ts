/**
 * A guest that has done nothing, on a daemon and a share of its own: a process that reads a file of its share over and over, and says how long that took.
 *
 * @module
 */

import { DaemonError } from "../../guest/daemon_error.ts";
import { Opcode } from "../../wire/fuse.ts";
import { RawGuest } from "./raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT } from "./requests.ts";
import { Secrets } from "./secrets.ts";

const NAME = "mine";
const TEXT = "mine\n";
/** Between two looks: it is there to be served, not to be load. */
const PAUSE_MS = 1;
/** How long its word may take: it is patient with its daemon, and so are we with it. */
const PATIENCE_MS = 60_000;

/** What it has seen since it was asked last. */
export interface NeighbourReport {
  /** Times that it looked up, opened, read and closed its file. */
  readonly visits: number;
  /** The longest of them. */
  readonly worstMs: number;
  /** Null while it is served, else why not. */
  readonly complaint: string | null;
}

/** How to start this program as the neighbour. */
export interface NeighbourCommand {
  readonly program: string;
  readonly args: readonly string[];
}

/** Makes the file that it reads. */
export function furnishNeighbour(share: string): void {
  Deno.writeTextFileSync(`${share}/${NAME}`, TEXT);
}

/** The neighbour, from the attacker's side. */
export class Neighbour {
  readonly #child: Deno.ChildProcess;
  readonly #questions: WritableStreamDefaultWriter<Uint8Array>;
  readonly #answers: ReadableStreamDefaultReader<string>;

  constructor({ program, args }: NeighbourCommand) {
    this.#child = new Deno.Command(program, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#questions = this.#child.stdin.getWriter();
    this.#answers = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** What it has seen since this was asked last: one visit at least. */
  async report(): Promise<NeighbourReport> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => timer = setTimeout(resolve, PATIENCE_MS, null));
    try {
      await this.#questions.write(new TextEncoder().encode("?\n"));
      const answer = await Promise.race([this.#line(), late]);
      if (answer !== null) return JSON.parse(answer);
    } catch {
      // It has ended.
    } finally {
      clearTimeout(timer);
    }
    return { visits: 0, worstMs: 0, complaint: "another guest has ended" };
  }

  async close(): Promise<void> {
    await this.#questions.close().catch(() => {});
    await this.#child.status;
    await this.#answers.cancel();
  }

  async #line(): Promise<string | null> {
    for (let line = "";;) {
      const { value, done } = await this.#answers.read();
      if (done) return null;
      line += value;
      if (line.endsWith("\n")) return line;
    }
  }
}

/** The program of the neighbour's process: goes on until stdin ends. */
export async function beNeighbour(socketPath: string): Promise<void> {
  const ending = new AbortController();
  let visits = 0;
  let worstMs = 0;
  let complaint: string | null = null;
  let questions = 0;
  const listening = (async () => {
    for await (const bytes of Deno.stdin.readable) {
      questions += bytes.filter((byte) => byte === 0x0a).length;
    }
    ending.abort();
  })();
  let guest: RawGuest | null = null;
  while (!ending.signal.aborted) {
    if (complaint === null) {
      const started = performance.now();
      try {
        guest ??= await RawGuest.connect(socketPath, new Secrets("none", new Set()));
        complaint = visit(guest);
      } catch (error) {
        complaint = `another guest has lost its service: ${(error as Error).message}`;
      }
      worstMs = Math.max(worstMs, performance.now() - started);
      visits++;
    }
    if (questions > 0 && (visits > 0 || complaint !== null)) {
      const report: NeighbourReport = { visits, worstMs: Math.round(worstMs * 10) / 10, complaint };
      Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
      questions--;
      visits = 0;
      worstMs = 0;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  guest?.close();
  await listening;
}

/** Null if it was served. */
export function visit(guest: RawGuest, name = NAME, expected = TEXT): string | null {
  const node = nodeOf(lookup(guest, ROOT, name));
  const handle = handleOf(open(guest, node, 0));
  const { body: bytes } = read(guest, node, handle, 64);
  guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
  const text = new TextDecoder().decode(bytes);
  return text === expected ? null : `another guest reads "${text}"`;
}

/** Connects to a daemon, which may be about to be started again by whoever looks after it. */
export async function connectPatiently(
  connect: () => Promise<RawGuest>,
  patienceMs: number,
): Promise<RawGuest> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      if (!(error instanceof DaemonError) || performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
