/**
 * The fuzzer: `deno task fuzz [--requests N] [--seconds S] [--seed N] [--modes auto,dax] [--replay JSON] [--keep] [--daemon]`.
 *
 * Inputs are sessions of one guest (`input.ts`). Those that reach something new (`coverage.ts`) are varied further. One
 * that fails is printed, with the command that runs it again.
 *
 * With `--daemon` they are put to daemons in their sandbox instead (`daemon_target.ts`). A replay is then of the same requests, not of the
 * same moments: each daemon has two queues.
 *
 * @module
 */

import { contain } from "./contained.ts";
import { Coverage } from "./coverage.ts";
import { type Input, runInput } from "./input.ts";
import { DAEMON_MODES, DaemonTarget } from "./daemon_target.ts";
import { MODES } from "./modes.ts";
import { Random } from "./random.ts";
import { Target } from "./target.ts";
import { Ground } from "./tree.ts";

const CORPUS = new URL("./corpus/requests.json", import.meta.url);
const LENGTH = 1500;
const LOOK_EVERY = 25;
/** Of inputs whose failures are told before the end. */
const FAILURES_MAX = 5;
/** Inputs that stay in the source. */
const KEPT_PER_MODE = 16;

interface Options {
  requests: number;
  seconds: number;
  seed: number;
  modes: string[];
  replay: Input | null;
  keep: boolean;
  daemon: boolean;
}

function readOptions(args: readonly string[]): Options {
  const options: Options = {
    requests: 200_000,
    seconds: Infinity,
    seed: Math.floor(Math.random() * 2 ** 32),
    modes: Object.keys(MODES),
    replay: null,
    keep: false,
    daemon: false,
  };
  for (let i = 0; i < args.length; i++) {
    const value = () => args[++i] ?? "";
    switch (args[i]) {
      case "--requests":
        options.requests = Number(value());
        break;
      case "--seconds":
        options.seconds = Number(value());
        options.requests = Infinity;
        break;
      case "--seed":
        options.seed = Number(value());
        break;
      case "--modes":
        options.modes = value().split(",");
        break;
      case "--replay":
        options.replay = JSON.parse(value());
        break;
      case "--daemon":
        options.daemon = true;
        break;
      case "--keep":
        options.keep = true;
        break;
      default:
        options.requests = Number(args[i]);
        if (!(options.requests > 0)) throw new Error(`Unknown option "${args[i]}"`);
    }
  }
  return options;
}

/** Puts sessions to one daemon of each mode. The exit code. */
async function fuzzDaemons(options: Options, root: string): Promise<number> {
  const { seed, replay } = options;
  if (options.requests === Infinity) throw new Error("--daemon counts requests, not seconds");
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  using ground = new Ground(root);
  const modes = options.modes.filter((mode) => DAEMON_MODES.includes(mode));
  for (const mode of replay === null ? modes : [replay.mode]) {
    const started = performance.now();
    const target = await DaemonTarget.start(mode, ground.share, root);
    const coverage = new Coverage();
    let requests = 0;
    let input: Input = { mode, seed, forks: [], length: LENGTH };
    try {
      while (requests < options.requests / modes.length) {
        const length = Math.min(LENGTH, Math.ceil(options.requests / modes.length));
        input = replay ?? { mode, seed: random.u32(), forks: [], length };
        requests += runInput(input, { target, ground, coverage });
        if (replay !== null) break;
      }
      ground.check();
      await target.close();
    } catch (error) {
      console.error(`FAILED: ${mode}: ${(error as Error).message}`);
      console.error(`again with: deno task fuzz --daemon --replay '${JSON.stringify(input)}'`);
      await target.close().catch((end) => console.error(String(end)));
      return 1;
    }
    const seconds = (performance.now() - started) / 1000;
    console.log(`${mode}: ${requests} requests, ${seconds.toFixed(1)} s, reached ${coverage.size}`);
  }
  return 0;
}

/** The corpus as it is in the source; new findings are added with --keep. */
function readCorpus(): Input[] {
  try {
    return JSON.parse(Deno.readTextFileSync(CORPUS));
  } catch {
    return [];
  }
}

function descriptorCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Who the thread is; its working directory and umask are a queue thread's by now. */
function identity(): string {
  return Deno.readTextFileSync("/proc/thread-self/status").split("\n")
    .filter((line) => /^(Uid|Gid|Groups|CapEff|Umask):/.test(line)).join(" ");
}

class Fuzzer {
  readonly #options: Options;
  readonly #ground: Ground;
  readonly #targets = new Map<string, Target>();
  readonly #coverage = new Map<string, Coverage>();
  readonly #corpus: Input[];
  readonly #random: Random;
  #found = 0;
  #inputs = 0;
  #requests = 0;
  #failures = 0;
  #expected = "";

  constructor(options: Options, root: string) {
    this.#options = options;
    this.#ground = new Ground(root);
    this.#random = new Random(options.seed);
    this.#corpus = readCorpus().filter(({ mode }) => options.modes.includes(mode));
    for (const mode of options.modes) {
      this.#targets.set(mode, new Target(mode, this.#ground.share, `${this.#ground.root}/table`));
      this.#coverage.set(mode, new Coverage());
    }
  }

  /** The exit code. */
  run(): number {
    const { requests, seconds, replay, seed } = this.#options;
    const started = performance.now();
    const elapsed = () => (performance.now() - started) / 1000;
    console.log(`seed ${seed}; inputs of the corpus: ${this.#corpus.length}`);
    let told = 0;
    if (replay !== null) this.#try(replay);
    else {
      for (const input of [...this.#corpus]) {
        if (elapsed() < seconds / 2) this.#try(input);
      }
      while (this.#requests < requests && elapsed() < seconds && this.#failures < FAILURES_MAX) {
        this.#try(this.#next());
        if (elapsed() - told < 20) continue;
        told = elapsed();
        this.#tell(told);
      }
    }
    this.#look("the end");
    this.#tell(elapsed());
    for (const [mode, { successes }] of this.#coverage) {
      const done = successes.map((count, opcode) => `${opcode}:${count}`);
      console.log(
        `${mode}, successes by opcode: ${done.filter((_, i) => successes[i]! > 0).join(" ")}`,
      );
    }
    if (this.#options.keep && this.#found > 0) this.#keep();
    this.#ground[Symbol.dispose]();
    return this.#failures === 0 ? 0 : 1;
  }

  #next(): Input {
    const random = this.#random;
    const mode = random.pick(this.#options.modes);
    const seed = random.u32();
    const candidates = this.#corpus.filter((input) => input.mode === mode);
    if (candidates.length === 0 || random.oneIn(3)) {
      return { mode, seed, forks: [], length: LENGTH };
    }
    const input = random.pick(candidates);
    const at = random.below(input.length);
    const forks = input.forks.filter((fork) => fork.at < at).slice(-8);
    return { mode, seed: input.seed, forks: [...forks, { at, seed }], length: LENGTH };
  }

  #try(input: Input): void {
    const target = this.#targets.get(input.mode)!;
    const coverage = this.#coverage.get(input.mode)!;
    coverage.grew = false;
    try {
      this.#requests += runInput(input, { target, ground: this.#ground, coverage });
    } catch (error) {
      this.#fail(input, error);
      // What it held would be counted against all that follow.
      this.#targets.set(
        input.mode,
        new Target(input.mode, this.#ground.share, `${this.#ground.root}/table`),
      );
      this.#expected = "";
    }
    if (coverage.grew) {
      this.#corpus.push(input);
      this.#found++;
    }
    this.#inputs++;
    if (this.#inputs % LOOK_EVERY === 0) this.#look(JSON.stringify(input));
  }

  /** From time to time: what one session can not be seen to have done. */
  #look(where: string): void {
    try {
      this.#ground.check();
      const now = `${descriptorCount()} descriptors, ${identity()}`;
      if (this.#expected === "") this.#expected = now;
      if (now !== this.#expected) throw new Error(`${this.#expected} became ${now}`);
    } catch (error) {
      this.#failures++;
      this.#expected = "";
      console.error(`FAILED, one of the last ${LOOK_EVERY} inputs before ${where}: ${error}`);
    }
  }

  #fail(input: Input, error: unknown): void {
    this.#failures++;
    const { message, cause } = error as Error;
    console.error(`FAILED: ${message}\n${(cause as Error)?.stack ?? ""}`);
    console.error(`again with: deno task fuzz --replay '${JSON.stringify(input)}'`);
  }

  #tell(seconds: number): void {
    const rate = Math.round(this.#requests / Math.max(seconds, 0.001));
    const reached = [...this.#coverage].map(([mode, { size }]) => `${mode} ${size}`).join(", ");
    console.log(
      `${this.#requests} requests, ${rate} a second, ${this.#inputs} inputs, ${this.#failures} failures; reached: ${reached}`,
    );
  }

  /** Prints the corpus anew: the inputs that together reach what all reached, or nearly; the latest have come furthest. */
  #keep(): void {
    const kept: Input[] = [];
    for (const [mode, target] of this.#targets) {
      const coverage = new Coverage();
      const inputs = this.#corpus.filter((input) => input.mode === mode).reverse();
      const ofMode: Input[] = [];
      for (const input of inputs) {
        if (ofMode.length === KEPT_PER_MODE) break;
        coverage.grew = false;
        runInput(input, { target, ground: this.#ground, coverage });
        if (coverage.grew) ofMode.push(input);
      }
      kept.push(...ofMode);
    }
    const lines = kept.map((input) => `  ${JSON.stringify(input)}`).join(",\n");
    // The source cannot be written to from here.
    console.log(`corpus/requests.json:\n[\n${lines}\n]`);
  }
}

const USAGE =
  `Sends random and mutated requests, chains and sessions to the server, contained: as root it can write to its own tmpfs only.
Usage: deno task fuzz [REQUESTS] [OPTION]...

  --requests N    How many (default 200,000); --seconds S: for how long instead.
  --seed N        The inputs of another run.
  --modes LIST    Only these: ${Object.keys(MODES).join(", ")}.
  --daemon        Over the socket, to daemons in a sandbox with the filter on (--seccomp trap).
  --replay JSON   One input again: printed with each failure.
  --keep          Print the corpus anew.

Examples:
  deno task fuzz 10000000
  deno task fuzz --seconds 60 --modes locks,ids`;

if (import.meta.main) {
  if (Deno.args.some((word) => word === "--help" || word === "-h")) {
    console.log(USAGE);
    Deno.exit(0);
  }
  const options = readOptions(Deno.args);
  const place = contain();
  if ("exitCode" in place) Deno.exit(place.exitCode);
  Deno.exit(
    options.daemon
      ? await fuzzDaemons(options, place.ground)
      : new Fuzzer(options, place.ground).run(),
  );
}
