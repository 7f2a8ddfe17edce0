/**
 * The options that name the daemon a command is about.
 *
 * @module
 */

import { message } from "@optique/core/message";
import { object } from "@optique/core/constructs";
import { multiple } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import type { SubjectSource } from "./subject.ts";

/** `--socket-path`, `--shared-dir` and `--command`, each as often as one likes. */
export const subjectOptions = object("Daemons", {
  sockets: multiple(option("--socket-path", string({ metavar: "SOCK" }), {
    description: message`A daemon that listens already.`,
  })),
  directories: multiple(option("--shared-dir", string({ metavar: "DIR" }), {
    description: message`Start this program's own daemon on a directory.`,
  })),
  commands: multiple(option("--command", string({ metavar: "CMD" }), {
    description:
      message`Start another daemon; {socket} and {dir} in the command stand for its socket and a new directory.`,
  })),
});

/** The daemons that were named, sockets first. */
export function subjectSources(values: {
  readonly sockets: readonly string[];
  readonly directories: readonly string[];
  readonly commands: readonly string[];
}): SubjectSource[] {
  return [
    ...values.sockets.map((socketPath) => ({ kind: "socket", socketPath }) as const),
    ...values.directories.map((directory) => ({ kind: "directory", directory }) as const),
    ...values.commands.map((command) => ({ kind: "command", command }) as const),
  ];
}
