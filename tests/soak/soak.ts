/**
 * The soak: `deno task soak [--minutes N] [--seed N] [--session K] [--json] [--dax] [--cache MODE] [--sandbox MODE] [--seccomp ACTION]
 * [--command 'CMD {socket} {dir}']`.
 *
 * One daemon (two on one version table with `--cache shared`) serves one guest after another. Each works at random, holding what it sees against
 * a model, and ends in order or in the midst of things. Between them the daemon must be as it was before: `verdict.ts`.
 *
 * @module
 */

import { Progress } from "../../src/cli/progress.ts";
import { waitUntil } from "../guest/process.ts";
import { Daemons } from "./daemons.ts";
import { readOptions, replayCommand, type SoakOptions, USAGE } from "./options.ts";
import { makeGiven } from "./pattern.ts";
import { namesAt, planOf } from "./plan.ts";
import { reportText, type SoakReport, soakReport } from "./report.ts";
import { countsOf, type Sample, total } from "./sample.ts";
import { runSession } from "./session.ts";
import { judge, POINTS_MIN, WARM_UP_SESSIONS } from "./verdict.ts";

const SAMPLE_MS = 3000;
/** What a daemon takes to let go of a guest, on a machine that is busy with other things. */
const QUIET_MS = 30_000;
/** Between two looks that must agree. */
const SETTLED_MS = 100;

/** One run. */
class Soak {
  readonly #options: SoakOptions;
  readonly #daemons: Daemons;
  readonly #place: string;
  readonly #quiet: Sample[] = [];
  readonly #busy: Sample[] = [];
  readonly #faults: string[] = [];
  readonly #ends: Record<string, number> = {};
  readonly #started = performance.now();
  #sessions = 0;
  #operations = 0;
  #requests = 0;
  #bytes = 0;
  #told = 0;
  #interrupted = false;

  constructor(options: SoakOptions, place: string, versionTable: string) {
    this.#options = options;
    this.#place = place;
    const { command, cache, dax, sandbox, seccomp } = options;
    const share = `${place}/share`;
    Deno.mkdirSync(share);
    makeGiven(share, namesAt(options.scale));
    const isolation = { sandbox, seccomp };
    this.#daemons = new Daemons({ place, share, command, cache, dax, ...isolation, versionTable });
  }

  async run(): Promise<SoakReport> {
    const { minutes, session } = this.#options;
    try {
      await this.#daemons.start();
      using progress = new Progress();
      const timer = setInterval(() => this.#look(progress), SAMPLE_MS);
      // What has been seen until then is told.
      const interrupt = () => this.#interrupted = true;
      Deno.addSignalListener("SIGINT", interrupt);
      try {
        if (session !== null) await this.#session(session);
        else {
          const needed = WARM_UP_SESSIONS + POINTS_MIN;
          for (let number = 0; this.#faults.length === 0; number++) {
            if (this.#seconds >= minutes * 60 && number >= needed || this.#interrupted) break;
            await this.#session(number);
          }
        }
      } finally {
        clearInterval(timer);
        Deno.removeSignalListener("SIGINT", interrupt);
      }
      const { log } = this.#daemons;
      if (this.#faults.length > 0 && log !== "") this.#faults.push(`the daemons' log:\n${log}`);
    } finally {
      this.#faults.push(...await this.#daemons.stop());
    }
    const isWhole = session === null && this.#faults.length === 0;
    // One that was cut short has its fault; that it was short is none.
    const verdict = isWhole ? judge(this.#quiet) : { faults: [], trends: [], warmUp: 0 };
    const [sessions, ends, operations] = [this.#sessions, this.#ends, this.#operations];
    return soakReport(
      this.#options,
      { sessions, ends, operations, requests: this.#requests, bytes: this.#bytes },
      { verdict, faults: this.#faults, quiet: this.#quiet, busy: this.#busy },
    );
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** A guest at each daemon, at the same time; then the quiet point. */
  async #session(number: number): Promise<void> {
    const common = { ...this.#options, warmUpSessions: WARM_UP_SESSIONS };
    const plans = this.#daemons.socketPaths.map((socketPath, i) => {
      const place = { socketPath, directory: `g${i}`, reportPath: `${this.#place}/report${i}` };
      return planOf(common, number, place);
    });
    const share = `${this.#place}/share`;
    const outcomes = await Promise.all(plans.map((plan) => runSession(plan, share)));
    for (const [i, { report, fault }] of outcomes.entries()) {
      const { end, directory } = plans[i]!;
      this.#ends[end] = (this.#ends[end] ?? 0) + 1;
      this.#operations += report?.operations ?? 0;
      this.#requests += report?.requests ?? 0;
      this.#bytes += report?.bytes ?? 0;
      if (fault !== null) this.#fail(number, `${directory} (${end}): ${fault}`);
    }
    this.#sessions++;
    const { ended } = this.#daemons;
    if (ended !== null) this.#fail(number, ended);
    else this.#quiet.push(await this.#settled());
  }

  #fail(number: number, fault: string): void {
    const again = replayCommand(this.#options, number);
    this.#faults.push(`session ${number}: ${fault}\nagain with: ${again}`);
  }

  /** What is measured when the daemon has let go of everything; or, if it does not, in the end. */
  async #settled(): Promise<Sample> {
    const deadline = performance.now() + QUIET_MS;
    await waitUntil(() => this.#daemons.isQuiet, QUIET_MS);
    const wanted = this.#quiet.length < WARM_UP_SESSIONS ? null : this.#quiet.at(-1)!;
    for (let before = this.#sample();;) {
      await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
      const now = this.#sample();
      // What is closed a moment later is no leak.
      if (countsOf(now) === countsOf(wanted ?? before) || performance.now() > deadline) return now;
      before = now;
    }
  }

  #sample(): Sample {
    return {
      seconds: this.#seconds,
      sessions: this.#sessions,
      processes: this.#daemons.processes(),
      state: this.#daemons.state(),
    };
  }

  /** From time to time, whatever is going on. */
  #look(progress: Progress): void {
    let sample: Sample;
    try {
      sample = this.#sample();
    } catch {
      // A process that has just ended: the session says so.
      return;
    }
    this.#busy.push(sample);
    const line = progressLine(sample, this.#options.minutes);
    progress.show(line);
    if (Deno.stderr.isTerminal() || this.#seconds - this.#told < 60) return;
    this.#told = this.#seconds;
    console.error(line);
  }
}

function progressLine({ seconds, sessions, processes, state }: Sample, minutes: number): string {
  const own = processes.map((process) =>
    `${process.name} ${(process.own / 1024).toFixed(0)} MiB, ${total(process.descriptors)} fds`
  );
  const known = state === null ? "" : `, ${state.inodes} inodes, ${state.requests} requests`;
  return `${(seconds / 60).toFixed(1)} of ${minutes} min, ${sessions} sessions${known}; ${
    own.join("; ")
  }`;
}

/** Runs one soak in directories of its own. */
async function soak(options: SoakOptions): Promise<SoakReport> {
  const place = Deno.makeTempDirSync({ prefix: "soak-" });
  const shared = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "soak-" });
  try {
    Deno.chmodSync(place, 0o755);
    return await new Soak(options, place, `${shared}/versions`).run();
  } finally {
    for (const path of [place, shared]) Deno.removeSync(path, { recursive: true });
  }
}

if (import.meta.main) {
  if (Deno.args.some((word) => word === "--help" || word === "-h")) {
    console.log(USAGE);
    Deno.exit(0);
  }
  const options = readOptions(Deno.args);
  if (!options.json) console.log(`seed ${options.seed}`);
  const report = await soak(options);
  console.log(options.json ? JSON.stringify(report, null, 1) : reportText(report));
  Deno.exit(report.ok ? 0 : 1);
}
