/**
 * `virtiofsd-ts check`: holds daemons to the rules. Each suite is a command of its own behind it.
 *
 * @module
 */

import { PROGRAM_NAME } from "../version.ts";
import { Answered, printOut, UsageError } from "./exit.ts";

const SUITES: Readonly<Record<"posix" | "coherence" | "hostile", string>> = {
  posix: "3,233 checks of what POSIX and Linux say of file systems, on one daemon",
  coherence: "whether several guests of several daemons see one and the same file system",
  hostile: "whether a guest that attacks its daemon gets anywhere",
};
const USAGE = `Usage: ${PROGRAM_NAME} check SUITE [OPTION]...`;
const HELP = `${USAGE}

Hold daemons to the rules, with no virtual machine.

Suites:
${Object.entries(SUITES).map(([name, line]) => `  ${name.padEnd(11)}${line}`).join("\n")}

Examples:
  ${PROGRAM_NAME} check posix --shared-dir /srv/data
  ${PROGRAM_NAME} check coherence --cache shared --guests 3 --daemons 3 --seconds 60
  ${PROGRAM_NAME} check hostile --sandbox none
  ${PROGRAM_NAME} check coherence --help

Exit code 0 if all holds, 1 if not, 2 for arguments that cannot be used.`;

/** Runs a suite; 0 if everything holds, else 1. */
export async function runCheck(args: readonly string[]): Promise<number> {
  const at = args.findIndex((word) => Object.hasOwn(SUITES, word));
  const rest = args.toSpliced(at, 1);
  switch (args[at]) {
    case "posix":
      return await (await import("./check_posix.ts")).runCheckPosix(rest);
    case "coherence":
      return await (await import("./check_coherence.ts")).runCheckCoherence(rest);
    case "hostile":
      return await (await import("./check_hostile.ts")).runCheckHostile(rest);
  }
  if (args.includes("--help") || args.includes("-h")) {
    printOut(HELP);
    throw new Answered();
  }
  const known = `expected ${Object.keys(SUITES).join(" or ")}`;
  const [first] = args;
  throw new UsageError(
    first === undefined ? `No suite: ${known}` : `There is no suite "${first}": ${known}`,
    USAGE,
  );
}
