/**
 * The signals that end a daemon in order.
 *
 * @module
 */

const ENDING: readonly Deno.Signal[] = ["SIGTERM", "SIGINT", "SIGHUP"];

/** Signals turned into one abort. */
export interface EndingSignals {
  /** Aborted at the first of SIGTERM, SIGINT and SIGHUP, with its name as the reason. */
  readonly signal: AbortSignal;
  /** Gives the signals back their usual effect, so that one more ends the process at once. */
  release(): void;
}

/** Listens to the ending signals from now on. */
export function endingSignals(): EndingSignals {
  const controller = new AbortController();
  const listeners = ENDING.map((name) => ({ name, listener: () => end(name) }));
  for (const { name, listener } of listeners) Deno.addSignalListener(name, listener);
  function release(): void {
    for (const { name, listener } of listeners.splice(0)) Deno.removeSignalListener(name, listener);
  }
  function end(name: Deno.Signal): void {
    controller.abort(name);
    // Whoever asks twice is in a hurry.
    release();
  }
  return { signal: controller.signal, release };
}
