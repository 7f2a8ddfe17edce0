/**
 * The program of one guest: one session, as its plan says. It is a process of its own, so that its memory is nobody else's and
 * its death is a real one.
 *
 * Says that it has connected, and leaves a report if it ends in order. What is wrong goes to standard error, and the exit code is 1.
 *
 * @module
 */

import { closeSession, openSession } from "../../src/guest/session.ts";
import { Random } from "../fuzz/random.ts";
import { GuestFiles, Unexpected } from "./guest_files.ts";
import { CONNECTED, type SessionPlan, type SessionReport } from "./plan.ts";
import { forget, knowMany, readGiven, transfer } from "./storms.ts";
import { Workload } from "./workload.ts";

const PAGE_CACHE_SIZE = 16 * 1024 * 1024;
/** A machine that is busy with other things answers late. */
const TIMEOUT_MS = 120_000;

async function run(plan: SessionPlan): Promise<SessionReport | null> {
  const { socketPath, cache, writeback, queueCount } = plan;
  const random = new Random(plan.seed);
  const caller = { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0, groups: [], umask: 0o022, pid: 1 };
  const options = { socketPath, cache, writeback, queueCount, timeoutMs: TIMEOUT_MS };
  const session = await openSession({
    ...options,
    dax: plan.dax ? "inode" : "never",
    pageCacheSize: PAGE_CACHE_SIZE,
    // Less caching than was asked for would be a soak of something else.
    warn: (message) => {
      throw new Unexpected(message);
    },
  }, caller);
  console.log(CONNECTED);
  if (plan.dax && session.volume.dax === null) throw new Unexpected("there is no DAX window");
  const files = new GuestFiles(session);
  const workload = new Workload(files, random, plan.directory);
  const knowsAt = plan.knownNames > 0 ? random.below(plan.operations) : -1;
  const isBigAt = plan.isBig ? random.below(plan.operations) : -1;
  for (let i = 0; i < plan.operations; i++) {
    if (i === knowsAt) knowMany(files, random, plan.knownNames);
    if (i === isBigAt) transfer(files, random, plan.directory);
    if (i === knowsAt && random.oneIn(2)) forget(files);
    if (random.oneIn(200)) forget(files);
    if (random.oneIn(100)) readGiven(files, random);
    workload.step();
  }
  if (plan.end === "died") Deno.kill(Deno.pid, "SIGKILL");
  if (plan.end === "hung up") {
    session.frontend.close();
    return null;
  }
  const expected = workload.finish();
  const status = await closeSession(session);
  files.must(status, "close");
  const requests = session.client.traffic.byOpcode().reduce((sum, row) => sum + row.requests, 0);
  return { requests, bytes: files.bytes, operations: plan.operations, files: expected };
}

if (import.meta.main) {
  try {
    const plan = JSON.parse(Deno.args[0]!) as SessionPlan;
    const report = await run(plan);
    if (report !== null) Deno.writeTextFileSync(plan.reportPath, JSON.stringify(report));
    Deno.exit(0);
  } catch (error) {
    console.error(error instanceof Error ? error.stack : error);
    Deno.exit(1);
  }
}
