import { deepEqual, equal, match } from "node:assert/strict";
import type { ProcessSample, Sample } from "./sample.ts";
import { judge } from "./verdict.ts";

const MIB = 1024;
/** An hour of sessions of five seconds. */
const SESSIONS = 720;
const SECONDS = 5;

/** Now and then the pool has one or two that wait for something to do. */
function runtimeThreads(session: number): Record<string, number> {
  return { "tokio-runtime-w": 2 + session % 3 };
}

interface Leaks {
  /** KiB each session and each minute. */
  readonly perSession?: number;
  readonly perMinute?: number;
  readonly descriptors?: (session: number) => number;
  readonly threads?: (session: number) => number;
  readonly handles?: (session: number) => number;
  readonly slots?: (session: number) => number;
  readonly pids?: (session: number) => number;
}

/** A daemon of two processes whose heap breathes by 6 MiB. */
function hour(leaks: Leaks = {}): Sample[] {
  return Array.from({ length: SESSIONS }, (_, session) => {
    const seconds = (session + 1) * SECONDS;
    const breath = 6 * MIB * ((session * 7919) % 101) / 100;
    const { perSession = 0, perMinute = 0 } = leaks;
    const own = 60 * MIB + breath + perSession * session + perMinute * seconds / 60;
    const serving: ProcessSample = {
      name: "serving",
      pid: leaks.pids?.(session) ?? 12,
      pss: own + 30 * MIB,
      own,
      anonymous: own,
      threads: { "worker-1": leaks.threads?.(session) ?? 2, ...runtimeThreads(session) },
      descriptors: { eventfd: leaks.descriptors?.(session) ?? 9, socket: 2 },
    };
    const started = { ...serving, name: "started", pid: 11, own: 40 * MIB + breath };
    const state = {
      inodes: 0,
      handles: leaks.handles?.(session) ?? 0,
      requests: session * 1000,
      bytes: session * MIB,
      slots: leaks.slots?.(session) ?? 1,
    };
    // The first sessions are cheaper: tables grow then.
    const early = session < 3 ? 20 * MIB : 0;
    const processes = [
      { ...started, descriptors: { socket: 2 }, threads: { deno: 2 } },
      { ...serving, own: own - early },
    ];
    return { seconds, sessions: session + 1, processes, state };
  });
}

function faults(leaks: Leaks): string {
  return judge(hour(leaks)).faults.join("\n");
}

Deno.test("soak: a daemon whose heap breathes is flat", () => {
  const { faults, trends, warmUp } = judge(hour());
  deepEqual(faults, []);
  deepEqual(trends.map(({ name }) => name), ["started", "serving"]);
  equal(warmUp, SESSIONS / 10);
  for (const { perHour } of trends) equal(Math.abs(perHour) < 1, true, `${perHour}`);
});

Deno.test("soak: one descriptor each session is a leak", () => {
  const text = faults({ descriptors: (session) => 9 + session });
  match(text, /after session 73: serving: descriptors 82 → 83: eventfd 80 → 81/);
  match(text, /and \d+ more such faults/);
});

Deno.test("soak: one descriptor once is a leak, and so is another in its place", () => {
  match(
    faults({ descriptors: (session) => session < 700 ? 9 : 10 }),
    /session 701: .*eventfd 9 → 10/,
  );
  const swapped = hour().map((sample, session) =>
    session < 700 ? sample : {
      ...sample,
      processes: sample.processes.map((process) => ({
        ...process,
        ...(process.name === "serving" ? { descriptors: { eventfd: 8, file: 1, socket: 2 } } : {}),
      })),
    }
  );
  match(judge(swapped).faults.join("\n"), /descriptors 11 → 11: eventfd 9 → 8, file 0 → 1/);
});

Deno.test("soak: 1 MiB a minute is a leak, and the slope says so", () => {
  const { faults, trends } = judge(hour({ perMinute: MIB }));
  match(faults.join("\n"), /^serving: .* MiB in the last quarter/);
  equal(faults.length, 1);
  const { perHour, perDay } = trends[1]!;
  equal(Math.abs(perHour - 60) < 1, true, `${perHour}`);
  equal(perDay, 24 * perHour);
});

Deno.test("soak: 64 KiB a session is a leak", () => {
  match(faults({ perSession: 64 }), /^serving: .* MiB in the last quarter/);
});

Deno.test("soak: threads, handles, slots, and a process that was started again", () => {
  match(faults({ threads: (session) => session < 400 ? 2 : 3 }), /serving: .*: worker-1 2 → 3$/m);
  match(
    faults({ handles: (session) => session === 2 ? 1 : 0 }),
    /session 3: 0 inodes .*, 1 handles/,
  );
  match(faults({ slots: (session) => 1 + session }), /version table 72 → 73/);
  match(faults({ pids: (session) => session < 500 ? 12 : 13 }), /serving 13, before .*serving 12/);
});

Deno.test("soak: the runtime's pool may not grow for ever", () => {
  const grows = hour().map((sample, session) => ({
    ...sample,
    processes: sample.processes.map((process) => ({
      ...process,
      threads: { ...process.threads, "tokio-runtime-w": 2 + Math.floor(session / 100) },
    })),
  }));
  match(judge(grows).faults.join("\n"), /session 401: .*tokio-runtime-w 5 → 6/);
});

Deno.test("soak: too few quiet points are no verdict", () => {
  match(judge(hour().slice(0, 7)).faults.join(), /7 quiet points, of 8/);
  match(judge([]).faults.join(), /0 quiet points/);
});
