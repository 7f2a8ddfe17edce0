/**
 * From the arguments to the command that answers them.
 *
 * @module
 */

import { PROGRAM_NAME, VERSION } from "../version.ts";
import { CONFINED_COMMAND } from "../isolated/messages.ts";
import { CAPABILITIES } from "./capabilities.ts";
import { Answered, EXIT, printError, printOut, UsageError } from "./exit.ts";
import { COMMANDS, overview, USAGE } from "./overview.ts";

/** Runs the command that `args` name and returns the exit code. */
export async function dispatch(args: readonly string[]): Promise<number> {
  try {
    return await answer(args);
  } catch (error) {
    if (error instanceof Answered) return EXIT.OK;
    if (!(error instanceof UsageError)) throw error;
    printError(`error: ${error.message.trimEnd()}\n\n${error.usage}\nFor more: --help`);
    return EXIT.USAGE;
  }
}

async function answer(args: readonly string[]): Promise<number> {
  const [first] = args;
  if (first === undefined) {
    printError(USAGE);
    return EXIT.USAGE;
  }
  if (first === CONFINED_COMMAND) {
    return await (await import("./serve_confined.ts")).runConfined(args.slice(1));
  }
  // Asked by launchers, which want this answer whatever else they say.
  if (args.includes("--print-capabilities")) {
    printOut(JSON.stringify(CAPABILITIES, null, 2));
    return EXIT.OK;
  }
  if (args.includes("--version") || args.includes("-V")) {
    printOut(`${PROGRAM_NAME} ${VERSION}`);
    return EXIT.OK;
  }
  if (args.length === 1 && (first === "--help" || first === "-h")) {
    printOut(overview());
    return EXIT.OK;
  }
  if (first.startsWith("-")) return await runCommand("serve", args);
  if (isCommand(first)) return await runCommand(first, args.slice(1));
  throw new UsageError(`There is no command "${first}"`, USAGE);
}

function isCommand(word: string): word is keyof typeof COMMANDS {
  return Object.hasOwn(COMMANDS, word);
}

/** Each command is loaded when it is asked for: `--version` need not wait for the daemon's code. */
async function runCommand(
  name: keyof typeof COMMANDS,
  args: readonly string[],
): Promise<number> {
  switch (name) {
    case "serve":
      return await (await import("./serve.ts")).runServe(args);
    case "mount":
      return await (await import("./mount.ts")).runMount(args);
    case "guest":
      return await (await import("./guest.ts")).runGuest(args);
    case "bench":
      return await (await import("./bench.ts")).runBench(args);
    case "check":
      return await (await import("./check.ts")).runCheck(args);
    case "inspect":
      return await (await import("./inspect.ts")).runInspect(args);
    case "demo":
      return await (await import("./demo.ts")).runDemo(args);
  }
}
