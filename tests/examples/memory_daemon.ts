/**
 * The example's daemon as a process of its own, on a socket in a temporary directory.
 *
 * @module
 */
import { TestProcess, waitUntil } from "../guest/process.ts";

const LISTENING = "Waiting for vhost-user socket connection";
const EXAMPLE = new URL("../../examples/serve_memory_fs.ts", import.meta.url).pathname;

/** The mount tag. */
export const TAG = "memory";

/** A running `examples/serve_memory_fs.ts`. */
export class MemoryDaemon implements AsyncDisposable {
  private constructor(readonly process: TestProcess, readonly socketPath: string) {}

  /** Starts it and waits until it listens. */
  static async start(directory: string): Promise<MemoryDaemon> {
    const socketPath = `${directory}/memory.sock`;
    const args = ["run", "-A", EXAMPLE, socketPath, TAG];
    const process = new TestProcess({ command: Deno.execPath(), args });
    const daemon = new MemoryDaemon(process, socketPath);
    const isOver = () => daemon.connectionsAwaited() > 0 || process.status !== null;
    if (await waitUntil(isOver, 30_000) && process.status === null) return daemon;
    await process.kill();
    throw new Error(`The example does not listen; it said:\n${process.output}`);
  }

  /** How often it has begun to wait for a front end. */
  connectionsAwaited(): number {
    return this.process.output.split(LISTENING).length - 1;
  }

  /** Ends it with SIGTERM; the exit code, or null if it does not end. */
  async terminate(): Promise<number | null> {
    this.process.signal("SIGTERM");
    return (await this.process.waitForEnd(10_000))?.code ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.kill();
  }
}
