/**
 * What the program says of itself as a whole: `--help` without a command, and the few lines on stderr
 * where there are no arguments at all.
 *
 * @module
 */

import { PROGRAM_NAME, VERSION } from "../version.ts";

/** The commands. */
export type CommandName = "serve" | "mount" | "guest" | "bench" | "check" | "inspect" | "demo";

/** The commands with a line each, in the order of the help. */
export const COMMANDS: Readonly<Record<CommandName, string>> = {
  serve: "Serve a directory to virtual machines (the daemon)",
  mount: "Mount what a daemon serves on this host, through /dev/fuse",
  guest: "Use what a daemon serves from the shell: ls, cat, put, get, ...",
  bench: "Measure daemons, several in turn: latency, throughput, small files",
  check: "Hold daemons to the rules: check posix, check coherence",
  inspect: "Look into running daemons: requests, inodes, the DAX window, queues, versions",
  demo: "Show it at work: a directory served, mounted and used, then the lines for your own VM",
};

/** The few lines for somebody who gave no arguments. */
export const USAGE = `Usage: ${PROGRAM_NAME} [COMMAND] [OPTION]...
       ${PROGRAM_NAME} --shared-dir DIR --socket-path PATH    (options alone mean serve)
Try: ${PROGRAM_NAME} --help`;

/** The answer to `--help`. */
export function overview(): string {
  const commands = Object.entries(COMMANDS).map(([name, line]) => `  ${name.padEnd(8)}${line}`);
  return `${PROGRAM_NAME} ${VERSION}: host directories for virtual machines (vhost-user, virtio-fs)

Usage: ${PROGRAM_NAME} COMMAND [OPTION]...
       ${PROGRAM_NAME} [OPTION]...        the same as serve; takes the options of virtiofsd

Commands:
${commands.join("\n")}

Options:
  --help, -h             This text; COMMAND --help for a command's options
  --version, -V          The version
  --print-capabilities   What launchers ask for, as JSON

Examples:
  ${PROGRAM_NAME} demo
  ${PROGRAM_NAME} serve --shared-dir /srv/data --socket-path /run/data.sock
  ${PROGRAM_NAME} serve --help`;
}
