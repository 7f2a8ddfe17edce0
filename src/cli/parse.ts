/**
 * Runs one command's parser: `--help` on stdout, a fault as a {@linkcode UsageError}. The library prints and
 * exits by itself where it is let; here main.ts decides about both.
 *
 * @module
 */

import { runParser } from "@optique/core/facade";
import { formatMessage, type Message } from "@optique/core/message";
import { map, multiple } from "@optique/core/modifiers";
import type { InferValue, Parser } from "@optique/core/parser";
import type { FluentParser } from "@optique/core/modifiers";
import { Answered, printOut, UsageError } from "./exit.ts";
import { PROGRAM_NAME } from "../version.ts";

/** What a command says about itself. */
export interface CommandText {
  /** The command's word. */
  readonly name: string;
  /** The arguments in the usage line. */
  readonly synopsis: string;
  /** One sentence, first in the help. */
  readonly brief: Message;
  /** Shown below the options. */
  readonly examples: Message;
  /** Last in the help. */
  readonly footer?: Message;
}

/** The usage line of a command. */
export function usageLine(text: CommandText): string {
  return `Usage: ${PROGRAM_NAME} ${text.name} ${text.synopsis}`;
}

/** Parses a command's arguments, or throws {@linkcode UsageError} or {@linkcode Answered}. */
export function parseCommand<P extends Parser<"sync", unknown, unknown>>(
  parser: P,
  text: CommandText,
  args: readonly string[],
): InferValue<P> {
  return runParser(parser, `${PROGRAM_NAME} ${text.name}`, args, {
    help: { option: { names: ["--help", "-h"] }, onShow: answered },
    onError: (_code: number, error: Message): never => {
      throw new UsageError(formatMessage(error), usageLine(text));
    },
    aboveError: "none",
    stdout: printOut,
    stderr: () => {},
    maxWidth: 100,
    termWidth: 34,
    usageLine: [{ type: "literal", value: text.synopsis }],
    brief: text.brief,
    examples: text.examples,
    ...(text.footer === undefined ? {} : { footer: text.footer }),
  });
}

/** An option that may be repeated, the last one counting: launchers append users' arguments to theirs. */
export function lastOf<T, S>(
  parser: Parser<"sync", T, S>,
): FluentParser<"sync", T | undefined, readonly S[]> {
  return map(multiple(parser), (values) => values.at(-1));
}

/** A flag that may be repeated. */
export function anyOf<S>(
  parser: Parser<"sync", true, S>,
): FluentParser<"sync", boolean, readonly S[]> {
  return map(multiple(parser), (values) => values.length > 0);
}

function answered(): never {
  throw new Answered();
}
