/**
 * `virtiofsd-ts check hostile`: a guest that attacks its daemon, and an audit of what lies outside.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { flag, option } from "@optique/core/primitives";
import { choice, float, string } from "@optique/core/valueparser";
import { CANARY } from "../check/hostile/auditor.ts";
import { beNeighbour, type NeighbourCommand } from "../check/hostile/neighbour.ts";
import { outcomeText, summaryText } from "../check/hostile/report.ts";
import { PLACE } from "../check/hostile/attack.ts";
import { ATTACKS, type Daemon, type Outcome, runAttacks } from "../check/hostile/run.ts";
import { DaemonError } from "../guest/daemon_error.ts";
import { SetupError } from "../setup_error.ts";
import { EXIT, printError, printOut, UsageError } from "./exit.ts";
import { anyOf, type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";
import { Progress } from "./progress.ts";
import { selfCommand } from "./self_command.ts";
import { Subject } from "./subject.ts";

const parser = object({
  directory: lastOf(option("--shared-dir", string({ metavar: "DIR" }), {
    description:
      message`Work below this directory (default: the directory for temporary files). With --socket-path: what that daemon serves, which must be empty; the directory above it must be ours to write to, and have no "canary" in it.`,
  })),
  command: lastOf(option("--command", string({ metavar: "CMD" }), {
    description:
      message`Attack another daemon; {socket} and {dir} in the command stand for its socket and its directory. It is started anew for each connection.`,
  })),
  socketPath: lastOf(option("--socket-path", string({ metavar: "SOCK" }), {
    description:
      message`Attack a daemon that listens already and takes one front end after another, or is started again for each by whoever looks after it.`,
  })),
  sandbox: lastOf(option("--sandbox", choice(["namespace", "chroot", "none"]), {
    description: message`That of this program's own daemon: what holds without it holds by itself.`,
  })),
  seccomp: lastOf(option("--seccomp", choice(["kill", "log", "trap", "none"]), {
    description: message`That of this program's own daemon.`,
  })),
  only: lastOf(option("--attacks", string({ metavar: "LIST" }), {
    description: message`Only these, by name, with commas between.`,
  })),
  scale: lastOf(option("--scale", float({ min: 0.001, max: 1000, metavar: "FACTOR" }), {
    description: message`How many rounds, compared to the usual (default 1).`,
  })),
  json: anyOf(flag("--json", { description: message`One JSON object for each attack.` })),
});

const TEXT: CommandText = {
  name: "check hostile",
  synopsis: "[--sandbox MODE] [--seccomp MODE] [--command CMD] [OPTION]...",
  brief:
    message`Attack a daemon as a hostile guest would, and see that nothing outside its directory is read, written or looked at, that it lives, and that others keep their service.`,
  examples:
    message`virtiofsd-ts check hostile --sandbox none${lineBreak()}virtiofsd-ts check hostile --attacks symlink-races --scale 20${lineBreak()}virtiofsd-ts check hostile --command '/usr/libexec/virtiofsd --sandbox none --socket-path {socket} --shared-dir {dir}'`,
  footer:
    message`An attack is refused (each attempt was answered with an error), contained (some were served, and did no harm), UNTRIED (what should have happened at the same time did not), has ENDED the daemon or its answers (nobody but the guest has lost anything), or is a VIOLATION. Exit code 0 if all were refused or contained, else 1. Meanwhile another guest, of another daemon, is served: its slowest answer is in the table, and so is the time that the next guest of the same daemon waited.`,
};

const OWN_OPTIONS = [
  "--xattr",
  "--posix-lock",
  "--flock",
  "--dax",
  "always",
  "--dax-window",
  "64M",
];

/** The hidden argument of the process that is another guest meanwhile. */
const NEIGHBOUR = "--be-neighbour-on";

/** Runs the attacks; 0 if all were refused or contained, else 1. */
export async function runCheckHostile(args: readonly string[]): Promise<number> {
  if (args[0] === NEIGHBOUR) {
    await beNeighbour(args[1]!);
    return EXIT.OK;
  }
  const options = parseCommand(parser, TEXT, args);
  const { socketPath, command, sandbox, seccomp } = options;
  const isolation = [["--sandbox", sandbox], ["--seccomp", seccomp]]
    .flatMap(([name, value]) => value === undefined ? [] : [name!, value]);
  const others = [socketPath, command, isolation[0]].filter((value) => value !== undefined);
  if (others.length > 1) {
    const what = "--socket-path, --command and --sandbox or --seccomp are about different daemons";
    throw new UsageError(what, usageLine(TEXT));
  }
  if (socketPath !== undefined && options.directory === undefined) {
    const what = "With --socket-path, --shared-dir says what that daemon serves";
    throw new UsageError(what, usageLine(TEXT));
  }
  const attacks = attacksOf(options.only);
  const served = socketPath === undefined ? null : options.directory!;
  const scale = options.scale ?? 1;
  const started = performance.now();
  const outcomes: Outcome[] = [];
  using progress = new Progress();
  try {
    if (served !== null) checkServed(served);
    using place = new Place(served === null ? options.directory : undefined);
    const startOurs = (directory: string, more: readonly string[] = []) =>
      startDaemon(directory, place, command, [...isolation, ...more]);
    const run = runAttacks({
      attacks,
      scale,
      start: socketPath === undefined
        ? startOurs
        : () => Promise.resolve<Daemon>({ socketPath, pid: null, staysUp: true, close: nothing }),
      startNeighbour: startOurs,
      neighbourCommand,
      place: place.path,
      served,
      progress: ({ name }) =>
        progress.show(`${outcomes.length} of ${attacks.length} attacks: ${name}`),
    });
    for await (const outcome of run) {
      outcomes.push(outcome);
      progress.clear();
      printOut(options.json ? JSON.stringify(outcome) : outcomeText(outcome));
    }
  } catch (error) {
    if (!(error instanceof DaemonError) && !(error instanceof SetupError)) throw error;
    progress.clear();
    printError(`error: ${error.message}`);
    return EXIT.FAILED;
  }
  progress.clear();
  if (!options.json) printOut(summaryText(outcomes, (performance.now() - started) / 1000));
  const isHeld = outcomes.every(({ outcome }) => outcome === "refused" || outcome === "contained");
  return isHeld ? EXIT.OK : EXIT.FAILED;
}

/** This program again, as another guest. */
function neighbourCommand(socketPath: string): NeighbourCommand {
  const self = selfCommand();
  return { program: self.program, args: [...self.args, "check", "hostile", NEIGHBOUR, socketPath] };
}

function nothing(): Promise<void> {
  return Promise.resolve();
}

function attacksOf(list: string | undefined): typeof ATTACKS {
  if (list === undefined) return ATTACKS;
  return list.split(",").map((name) => {
    const attack = ATTACKS.find((one) => one.name === name);
    if (attack !== undefined) return attack;
    const known = ATTACKS.map((one) => one.name).join(", ");
    throw new UsageError(
      `There is no attack "${name}"; expected some of ${known}`,
      usageLine(TEXT),
    );
  });
}

async function startDaemon(
  directory: string,
  place: Place,
  command: string | undefined,
  more: readonly string[],
): Promise<Daemon> {
  const options = more.map((word) => word.replace(PLACE, place.path));
  const subject = await Subject.open(
    command === undefined
      ? { kind: "directory", directory, args: [...OWN_OPTIONS, ...options] }
      : { kind: "command", command, directory },
    place.path,
  );
  const { socketPath, pid } = subject;
  return { socketPath, pid, staysUp: command === undefined, close: () => subject.close() };
}

/** It is emptied again and again, and what lies beside it is made anew: neither may be anybody's. */
function checkServed(directory: string): void {
  const canary = `${directory}/../${CANARY}`;
  let isEmpty = false;
  let isFree = false;
  try {
    isEmpty = [...Deno.readDirSync(directory)].length === 0;
    Deno.lstatSync(canary);
  } catch (error) {
    isFree = isEmpty && error instanceof Deno.errors.NotFound;
  }
  if (!isEmpty) throw new SetupError(`"${directory}" is not an empty directory`);
  if (!isFree) throw new SetupError(`"${canary}" is in the way`);
}

/** Where all attacks take place. */
class Place implements Disposable {
  readonly path: string;

  constructor(directory: string | undefined) {
    const dir = directory === undefined ? {} : { dir: directory };
    try {
      this.path = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-hostile-", ...dir });
    } catch {
      throw new SetupError(
        `Cannot make a directory in "${directory ?? "the temporary directory"}"`,
      );
    }
    Deno.chmodSync(this.path, 0o755);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
