/**
 * What `deno task soak` was told.
 *
 * @module
 */

/** How long, on what, and how to say it. */
export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Only this one of the seed's sessions. */
  readonly session: number | null;
  /** How much each session does, 1 being all of it: a smoke run has no time for ten thousand names. */
  readonly scale: number;
  readonly json: boolean;
  readonly dax: boolean;
  readonly cache: string | null;
  readonly sandbox: string | null;
  readonly seccomp: string | null;
  /** Another daemon, with `{socket}` and `{dir}`. */
  readonly command: string | null;
}

/** `--help` */
export const USAGE =
  `Guests come to a daemon and go again, for as long as is asked; its memory and descriptors must stay flat.
Usage: deno task soak [OPTION]...

  --minutes N         How long (default 60).
  --seed N            The sessions of another run.
  --session K         Only this one of the seed's sessions: printed with each fault.
  --scale FACTOR      How much each session does (default 1).
  --dax               With a DAX window.
  --cache MODE        The daemon's; shared: two daemons on one version table.
  --sandbox MODE, --seccomp ACTION   The daemon's (default: its own defaults).
  --command CMD       Another daemon that takes one front end after another; {socket} and {dir} stand for its socket and directory.
  --json              One JSON object.

Examples:
  deno task soak --minutes 10
  deno task soak --minutes 5 --dax --sandbox none --seccomp none`;

/** Reads them; an error says what is wrong. */
export function readOptions(args: readonly string[]): SoakOptions {
  const values = new Map<string, string>();
  const flags = new Set<string>();
  for (let i = 0; i < args.length; i++) {
    const [name, inline] = args[i]!.split(/=(.*)/s, 2) as [string, string | undefined];
    if (["--json", "--dax"].includes(name)) flags.add(name);
    else if (VALUES.includes(name)) {
      const value = inline ?? args[++i];
      if (value === undefined) throw new Error(`${name} needs a value`);
      values.set(name, value);
    } else throw new Error(`Unknown option "${args[i]}"`);
  }
  const text = (name: string) => values.get(name) ?? null;
  const number = (name: string, otherwise: number | null) => {
    const value = values.has(name) ? Number(values.get(name)) : otherwise;
    if (value !== null && !(value >= 0)) throw new Error(`${name} is no number`);
    return value;
  };
  return {
    minutes: number("--minutes", 60)!,
    seed: number("--seed", crypto.getRandomValues(new Uint32Array(1))[0]!)!,
    session: number("--session", null),
    scale: number("--scale", 1)!,
    json: flags.has("--json"),
    dax: flags.has("--dax"),
    cache: text("--cache"),
    sandbox: text("--sandbox"),
    seccomp: text("--seccomp"),
    command: text("--command"),
  };
}

const VALUES = [
  "--minutes",
  "--seed",
  "--session",
  "--scale",
  "--cache",
  "--sandbox",
  "--seccomp",
  "--command",
];

/** The command that runs one session again. */
export function replayCommand(options: SoakOptions, session: number): string {
  const { seed, scale, dax, cache, sandbox, seccomp, command } = options;
  const option = (name: string, value: string | null) =>
    value === null ? "" : ` ${name} '${value}'`;
  return `deno task soak --seed ${seed} --session ${session}${dax ? " --dax" : ""}` +
    option("--scale", scale === 1 ? null : `${scale}`) +
    option("--cache", cache) + option("--sandbox", sandbox) + option("--seccomp", seccomp) +
    option("--command", command);
}
