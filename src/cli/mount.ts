/**
 * `virtiofsd-ts mount`: what a daemon serves, mounted on this host.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { multiple } from "@optique/core/modifiers";
import { argument, option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import { mount } from "../mount/mount.ts";
import { MOUNT_OPTIONS, mountFlags, mountPointPath } from "../mount/mount_point.ts";
import { SetupError } from "../setup_error.ts";
import { EXIT, printError, UsageError } from "./exit.ts";
import { type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";
import { endingSignals } from "./signals.ts";

const parser = object({
  socketPath: lastOf(option("--socket-path", string({ metavar: "SOCK" }), {
    description: message`Where the daemon listens.`,
  })),
  options: multiple(option("-o", string({ metavar: "OPTION,..." }), {
    description: message`Mount options: ${MOUNT_OPTIONS.join(", ")}.`,
  })),
  queues: lastOf(option("--num-request-queues", integer({ min: 1, max: 64, metavar: "N" }), {
    description: message`Request queues to use, where the device has them (default 1).`,
  })),
  pollUs: lastOf(option("--poll-us", integer({ min: 0, max: 1_000_000, metavar: "US" }), {
    description: message`Microseconds to watch the rings before sleeping (default 0).`,
  })),
  mountPoint: argument(string({ metavar: "MOUNTPOINT" }), {
    description: message`The directory to mount on.`,
  }),
});

const TEXT: CommandText = {
  name: "mount",
  synopsis: "--socket-path SOCK MOUNTPOINT [OPTION]...",
  brief: message`Mount what any vhost-user-fs daemon serves, through /dev/fuse.`,
  examples:
    message`virtiofsd-ts mount --socket-path /run/share.sock /mnt${lineBreak()}virtiofsd-ts mount --socket-path /run/share.sock /mnt -o ro,nosuid`,
  footer:
    message`With a daemon of --cache shared, what another guest changes is seen within milliseconds (2 after a request, 10 on an idle mount, and however long a process takes that uses the same directory just then). Needs root. Runs until MOUNTPOINT is unmounted (umount MOUNTPOINT, or Ctrl-C here). If the daemon dies, it ends with exit code 1, and the mount answers ENOTCONN until it is unmounted.`,
};

/** Mounts, serves until the end, and returns the exit code. */
export async function runMount(args: readonly string[]): Promise<number> {
  const options = parseCommand(parser, TEXT, args);
  const { socketPath } = options;
  if (socketPath === undefined) {
    throw new UsageError("Missing: --socket-path SOCK", usageLine(TEXT));
  }
  const ending = endingSignals();
  try {
    const names = options.options.flatMap((list) => list.split(",")).filter((name) => name !== "");
    const mountPoint = mountPointPath(options.mountPoint);
    const events = {
      mounted: (source: string) => printError(`Mounted ${source} on ${mountPoint}`),
      warning: (text: string) => printError(`warning: ${text}`),
    };
    await mount(
      {
        socketPath,
        mountPoint,
        flags: mountFlags(names),
        queueCount: options.queues ?? 1,
        pollMicroseconds: options.pollUs ?? 0,
      },
      events,
      ending.signal,
    );
    printError(`Unmounted ${mountPoint}`);
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    printError(`error: ${error.message}`);
    return EXIT.FAILED;
  } finally {
    ending.release();
  }
}
