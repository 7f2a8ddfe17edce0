/**
 * The hidden command of the process in the sandbox (`isolated/started.ts`): `serve-confined FD`.
 *
 * @module
 */

import { serveConfined } from "../isolated/serving.ts";
import type { Log } from "../log.ts";
import { openLog, stderrSink } from "../log.ts";
import { RootRefused } from "../sandbox/confine.ts";
import { EXIT } from "./exit.ts";
import { openSyslog, report } from "./serve.ts";
import { endingSignals } from "./signals.ts";

/** Runs the server and returns the exit code. */
export async function runConfined(args: readonly string[]): Promise<number> {
  const signals = endingSignals();
  const ending = new AbortController();
  signals.signal.addEventListener("abort", () => ending.abort(signals.signal.reason));
  let log: Log | null = null;
  try {
    await serveConfined(Number(args[0]), {
      ending,
      openLog: ({ level, syslog, color, startedPid }) => {
        log = syslog ? openSyslog(level, startedPid) : openLog(level, stderrSink(color));
        return log;
      },
    });
    if (ending.signal.aborted) log!.info(`Ended by ${ending.signal.reason}`);
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof RootRefused)) report(log ?? openLog("error", stderrSink()), error);
    return EXIT.FAILED;
  } finally {
    signals.release();
  }
}
