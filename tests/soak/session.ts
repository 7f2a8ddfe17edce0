/**
 * One session: the guest's process, its end, and what it leaves on the host.
 *
 * @module
 */

import { TestProcess, waitUntil } from "../guest/process.ts";
import { CONNECTED, type SessionPlan, type SessionReport } from "./plan.ts";
import { digest } from "./pattern.ts";

/** Longest session: more than one takes on a machine that is busy with other things. */
const SESSION_MS = 300_000;
const GUEST = new URL("./guest.ts", import.meta.url).pathname;

/** What came of it. */
export interface Outcome {
  /** Null of a guest that did not end in order. */
  readonly report: SessionReport | null;
  readonly fault: string | null;
}

/** Runs one guest in `share`, where nothing of the last one is left. */
export async function runSession(plan: SessionPlan, share: string): Promise<Outcome> {
  const home = `${share}/${plan.directory}`;
  remove(home);
  Deno.mkdirSync(home);
  remove(plan.reportPath);
  await using guest = new TestProcess({
    command: Deno.execPath(),
    args: ["run", "-A", "--no-check", GUEST, JSON.stringify(plan)],
  });
  const hasEnded = () => guest.status !== null;
  if (!await waitUntil(() => guest.output.includes(CONNECTED) || hasEnded(), SESSION_MS)) {
    return { report: null, fault: "the guest does not connect" };
  }
  if (plan.end === "killed") {
    await guest.waitForEnd(plan.killMs);
    guest.signal("SIGKILL");
  }
  const status = await guest.waitForEnd(SESSION_MS);
  if (status === null) return { report: null, fault: `the guest does not end\n${guest.output}` };
  const dies = plan.end === "killed" || plan.end === "died";
  if (!status.success && !(dies && status.signal === "SIGKILL")) {
    return { report: null, fault: `the guest ended with ${status.code}:\n${guest.output}` };
  }
  const report = reportAt(plan.reportPath);
  if (plan.end === "closed" && report === null) return { report, fault: "there is no report" };
  return { report, fault: report === null ? null : difference(home, report) };
}

/** Whether the host has what the guest says that it has left. */
function difference(home: string, { files }: SessionReport): string | null {
  const expected = new Map(files);
  const found = new Map(hostFiles(home, ""));
  for (const path of new Set([...expected.keys(), ...found.keys()])) {
    const [guest, host] = [expected.get(path) ?? "nothing", found.get(path) ?? "nothing"];
    if (guest !== host) return `${path}: the guest has left ${guest}, the host has ${host}`;
  }
  return null;
}

function* hostFiles(home: string, below: string): Generator<[path: string, digest: string]> {
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(home + below)) {
    const path = `${below}/${name}`;
    if (isDirectory) yield* hostFiles(home, path);
    else if (isSymlink) yield [path.slice(1), `-> ${Deno.readLinkSync(home + path)}`];
    else yield [path.slice(1), digest(Deno.readFileSync(home + path))];
  }
}

function reportAt(path: string): SessionReport | null {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch {
    return null;
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
