/**
 * `virtiofsd-ts guest`: look into a share from the shell, through any daemon.
 *
 * @module
 */

import { merge, object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { multiple } from "@optique/core/modifiers";
import { argument, flag, option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { DaemonError } from "../guest/daemon_error.ts";
import { Guest } from "../guest/guest.ts";
import { GuestError } from "../guest/guest_error.ts";
import { EXIT, printError, UsageError } from "./exit.ts";
import { GUEST_ACTIONS, type GuestAction } from "./guest_actions.ts";
import { guestOptions, sessionOptions } from "./guest_options.ts";
import { anyOf, type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";

const parser = merge(
  object({
    socketPath: lastOf(option("--socket-path", string({ metavar: "SOCK" }), {
      description: message`Where the daemon listens.`,
    })),
    json: anyOf(flag("--json", { description: message`One JSON value per line, for scripts.` })),
    long: anyOf(flag("-l", { description: message`ls: with attributes.` })),
    recursive: anyOf(flag("-r", "-R", "--recursive", {
      description: message`ls, cp, put, get, rm: with everything below.`,
    })),
    parents: anyOf(flag("-p", { description: message`mkdir: with the directories above.` })),
    words: multiple(argument(string({ metavar: "WORD" }))),
  }),
  guestOptions,
);

const TEXT: CommandText = {
  name: "guest",
  synopsis: "ACTION [PATH]... --socket-path SOCK [OPTION]...",
  brief: message`Use the files that a daemon serves, without a virtual machine.`,
  examples:
    message`virtiofsd-ts guest ls -l / --socket-path /run/share.sock${lineBreak()}virtiofsd-ts guest cat /etc/hostname --socket-path /run/share.sock${lineBreak()}virtiofsd-ts guest put notes.txt /notes.txt --socket-path /run/share.sock`,
  footer:
    message`Actions: ls, tree, cat, stat, readlink, df; put HOST... SHARE (copy in), get SHARE... HOST (copy out), cp, mv, ln [-s], mkdir, rm, touch, truncate, chmod, write (from standard input). Paths in the share begin at its root.`,
};

/** Runs one action and returns the exit code. */
export async function runGuest(args: readonly string[]): Promise<number> {
  // `ln -s` is a flag of one action only.
  const symbolic = args[0] === "ln" && args.includes("-s");
  const options = parseCommand(parser, TEXT, symbolic ? args.filter((a) => a !== "-s") : args);
  const [name, ...words] = options.words;
  if (name === undefined) throw new UsageError("There is no action", usageLine(TEXT));
  if (!Object.hasOwn(GUEST_ACTIONS, name)) {
    throw new UsageError(`There is no action "${name}"`, usageLine(TEXT));
  }
  const action: GuestAction = GUEST_ACTIONS[name as keyof typeof GUEST_ACTIONS];
  if (words.length < action.wordsMin || words.length > action.wordsMax) {
    throw new UsageError(
      `Expected: guest ${name} ${action.synopsis}`.trimEnd(),
      usageLine(TEXT),
    );
  }
  const { socketPath } = options;
  if (socketPath === undefined) {
    throw new UsageError("Missing: --socket-path SOCK", usageLine(TEXT));
  }
  try {
    await using guest = await Guest.connect({ socketPath, ...sessionOptions(options) });
    const { json, long, recursive, parents } = options;
    await action.run(guest, words, { json, long, recursive, parents, symbolic });
    return EXIT.OK;
  } catch (error) {
    if (
      error instanceof GuestError || error instanceof DaemonError ||
      error instanceof Deno.errors.NotFound || error instanceof Deno.errors.AlreadyExists ||
      error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.IsADirectory
    ) {
      printError(`error: ${error.message}`);
      return EXIT.FAILED;
    }
    throw error;
  }
}
