import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { PASSTHROUGH_DEFAULTS, type ServeConfig } from "../../src/config.ts";
import { HostEyes } from "../../src/isolated/host_eyes.ts";
import type { FromServer, ToServer } from "../../src/isolated/messages.ts";
import { Channel, channelPair } from "../../src/sandbox/channel.ts";
import { until } from "../support/daemon.ts";
import { close } from "../support/libc.ts";
import { ignoreWithoutViews } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { descriptorCount, HostileEnd } from "./hostile_end.ts";

const DEADLINE_MS = 30_000;
/** Beyond the largest number that a process can have. */
const NOBODY = 1 << 23;
const NOWHERE = "/virtiofsd-ts-nowhere";
const NOT_UNDERSTOOD = /^The server cannot be understood: /;
const TABLE_GONE = /table's file has been removed or replaced/;
/** Answered each time by eyes that were not asked before: they may watch a directory that is not there. */
const SANE = JSON.stringify({ kind: "watchHost" });

interface EyesOptions {
  readonly sharedDir?: string;
  readonly watchHost?: boolean;
  readonly table?: string;
  /** The server's number; nobody's if left out. */
  readonly pid?: number;
}

/** The process outside, and a server that sends what it likes. */
class Outer implements AsyncDisposable {
  readonly warnings: string[] = [];
  readonly server: HostileEnd;
  readonly #channel: Channel<FromServer, ToServer>;
  readonly #over = new AbortController();
  readonly #eyes: HostEyes;
  readonly #attending: Promise<void>;
  #ended = false;

  constructor(options: EyesOptions = {}) {
    const { sharedDir = NOWHERE, watchHost = true, table = NOWHERE, pid = NOBODY } = options;
    const [ours, theirs] = channelPair();
    this.#channel = new Channel(ours);
    this.server = new HostileEnd(theirs);
    const log = {
      debug() {},
      info() {},
      warn: (message: string) => void this.warnings.push(message),
      error: (message: string) => void this.warnings.push(message),
    };
    const config: ServeConfig = {
      endpoint: { kind: "fd", fd: -1 },
      keepListening: false,
      tag: null,
      requestQueueCount: 1,
      pollMicroseconds: 0,
      rlimitNofile: null,
      window: null,
      versions: { path: table, slotCount: 1024, watchHost },
      stateFile: null,
      metricsSocket: null,
      passthrough: { ...PASSTHROUGH_DEFAULTS, sharedDir },
    };
    this.#eyes = new HostEyes(pid, this.#channel, config, log);
    this.#attending = this.#eyes.attend(this.#over.signal).then(() => void (this.#ended = true));
  }

  /** It attends no more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The answers up to one of a kind; without that one if it has ended before. */
  async answersTo(kind: string): Promise<{ message: Record<string, unknown>; fds: number }[]> {
    const answers: { message: Record<string, unknown>; fds: number }[] = [];
    const what = `an answer "${kind}", or the end`;
    await until(what, () => {
      const hadEnded = this.#ended;
      const answer = this.server.tryReceive();
      if (answer === null) return hadEnded;
      const message = answer.message as Record<string, unknown>;
      answers.push({ message, fds: answer.fds.length });
      for (const fd of answer.fds) close(fd);
      return message.kind === kind;
    }, DEADLINE_MS);
    return answers;
  }

  /** Leaves no room for messages to the server. Returns how many it took. */
  fillQueue(): number {
    let count = 0;
    while (this.#channel.send({ kind: "end", reason: "x".repeat(count === 0 ? 100_000 : 10) })) {
      count++;
    }
    return count;
  }

  /** Has it do all that has been asked, and end. */
  async drain(): Promise<void> {
    await this.server.send("null");
    await until("the end", () => this.#ended, DEADLINE_MS);
    equal(this.warnings.filter((warning) => NOT_UNDERSTOOD.test(warning)).length, 1);
  }

  /** What the process outside does at the server's end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#attending;
    await this.#eyes.close();
    this.#channel.close();
    this.server[Symbol.dispose]();
  }
}

const VALUES = ["null", "true", "0", "-1", "0.5", "-1e308", "1e999", "9007199254740993", '""']
  .concat(['"text"', "[]", "{}", "[null]", "[[1]]", "[1e999,-1,0.5]", '["a",{"b":1}]'])
  .concat(['{"length":1e9}', '{"__proto__":[1]}', `[${"7,".repeat(100_000)}7]`]);
const KINDS = ["closeViews", "daemons", "watchTable", "start", "end", "views", "toString"]
  .concat(["__proto__", "constructor", "", "OPENVIEWS", "x".repeat(100_000)]);
const MESSAGES: readonly string[] = [
  ...VALUES,
  ...VALUES.map((value) => `{"kind":${value}}`),
  ...KINDS.map((kind) => JSON.stringify({ kind })),
  ...VALUES.map((value) => `{"kind":"daemons","pids":${value}}`),
  ...VALUES.map((value) => `{"kind":"watchTable","device":${value},"inode":${value}}`),
  ...VALUES.map((value) => `{"kind":"watchTable","device":1,"inode":${value}}`),
  '{"kind":"watchTable","device":1}',
  '{"__proto__":{"kind":"daemons","pids":5}}',
  '{"kind":"daemons","kind":"closeViews","pids":5}',
];
const NO_MESSAGES: readonly string[] = [
  ...["", "{", "NaN", "undefined", '{"kind":"closeViews"}{}', "\0", "\ufeff", "'x'", "[1,]"],
  ...['{"kind":"daemons","pids":NaN}', " ".repeat(256 * 1024), " ".repeat(256 * 1024 + 1)],
  `{"kind":"closeViews","x":"${"y".repeat(300_000)}"}`,
];

/** It has one answer still, or has ended; in either case it is at peace. */
async function checkEyes(outer: Outer, sent: string): Promise<"answers" | "ended"> {
  await outer.server.send(SANE);
  const answers = await outer.answersTo("watching");
  const shown = sent.slice(0, 100);
  const warnings = outer.warnings.filter((warning) => !TABLE_GONE.test(warning));
  if (answers.length === 1) {
    equal(typeof answers[0]!.message.refusal, "string", shown);
    deepEqual(warnings, [], shown);
    return "answers";
  }
  equal(outer.ended, true, shown);
  deepEqual(answers, [], shown);
  // An empty message is what the end of the other process looks like.
  equal(warnings.length, sent === "" ? 0 : 1, shown);
  for (const warning of warnings) ok(NOT_UNDERSTOOD.test(warning), warning);
  return "ended";
}

Deno.test("HostEyes: whatever a message says, the next is answered, or it ends with one warning", async () => {
  await using _first = new Outer();
  const before = descriptorCount();
  const outcomes = { answers: 0, ended: 0 };
  for (const message of MESSAGES) {
    await using outer = new Outer();
    await outer.server.send(message);
    outcomes[await checkEyes(outer, message)]++;
  }
  equal(descriptorCount(), before);
  ok(outcomes.answers > 50 && outcomes.ended > 10, JSON.stringify(outcomes));
});

Deno.test("HostEyes: what is no message ends it, with one warning", async () => {
  await using _first = new Outer();
  const before = descriptorCount();
  for (const message of NO_MESSAGES) {
    await using outer = new Outer();
    await outer.server.send(message);
    equal(await checkEyes(outer, message), "ended", message.slice(0, 100));
  }
  equal(descriptorCount(), before);
});

for (const count of [1, 2, 250]) {
  Deno.test(`HostEyes: ${count} descriptors with any message are closed`, async () => {
    await using _first = new Outer();
    const before = descriptorCount();
    for (const message of ["{}", "5", "null", "{", "", '{"kind":"daemons","pids":[1]}']) {
      await using outer = new Outer();
      const fds = outer.server.descriptors(count);
      for (let i = 0; i < 20; i++) await outer.server.send(message, fds);
      await checkEyes(outer, message);
    }
    equal(descriptorCount(), before);
  });
}

Deno.test("HostEyes: thousands of messages that mean nothing, and then one that does", async () => {
  await using outer = new Outer();
  for (let i = 0; i < 2000; i++) {
    await outer.server.send(['{"kind":"x"}', "5", "[]", '{"kind":"closeViews"}'][i % 4]!);
    if (i % 2 === 0) await outer.server.send(JSON.stringify({ kind: "daemons", pids: [i] }));
  }
  equal(await checkEyes(outer, "thousands"), "answers");
});

Deno.test("HostEyes: to watch the host it was not configured to is not even answered", async () => {
  await using outer = new Outer({ watchHost: false });
  for (let i = 0; i < 1000; i++) await outer.server.send(SANE);
  await outer.drain();
  equal(outer.server.tryReceive(), null);
});

Deno.test("HostEyes: watchHost, asked a thousand times, is done once", async () => {
  using tree = new TempTree();
  const before = descriptorCount();
  {
    await using outer = new Outer({ sharedDir: tree.root });
    await outer.server.send(SANE);
    deepEqual(await outer.answersTo("watching"), [
      { message: { kind: "watching", refusal: null }, fds: 0 },
    ]);
    const watching = descriptorCount();
    for (let i = 0; i < 1000; i++) await outer.server.send(SANE);
    await outer.drain();
    // Others change what is theirs meanwhile, and all of the file system is watched.
    for (let answer = outer.server.tryReceive(); answer !== null;) {
      notEqual((answer.message as { kind: string }).kind, "watching");
      answer = outer.server.tryReceive();
    }
    // The wait for messages is over, and was one descriptor.
    equal(descriptorCount(), watching - 1);
  }
  equal(descriptorCount(), before);
});

Deno.test("HostEyes: watchTable, asked a thousand times with others' numbers, is one look a second and one warning", async () => {
  using tree = new TempTree();
  const table = tree.file("table");
  const { dev, ino } = Deno.statSync(table);
  for (const first of [{ device: dev, inode: ino }, { device: dev, inode: ino! + 1 }]) {
    const real = globalThis.setInterval;
    const looks: (() => void)[] = [];
    globalThis.setInterval = ((look: () => void) => {
      looks.push(look);
      return real(look, 1e9);
    }) as typeof setInterval;
    try {
      await using outer = new Outer({ table });
      for (let i = 0; i < 1000; i++) {
        const numbers = i === 0 ? first : { device: i, inode: -i };
        await outer.server.send(JSON.stringify({ kind: "watchTable", ...numbers }));
      }
      await outer.drain();
      equal(looks.length, 1);
      looks[0]!();
      const gone = outer.warnings.filter((warning) => TABLE_GONE.test(warning)).length;
      equal(gone, first.inode === ino ? 0 : 1);
    } finally {
      globalThis.setInterval = real;
    }
  }
});

Deno.test("HostEyes: changes that the server does not take are not kept for ever, and end with it", async () => {
  using tree = new TempTree();
  await using outer = new Outer({ sharedDir: tree.root });
  await outer.server.send(SANE);
  await outer.answersTo("watching");
  const fill = outer.fillQueue();
  const change = async (count: number) => {
    for (let i = 0; i < count; i++) {
      Deno.writeTextFileSync(tree.path(`f${i % 50}`), "x");
      // The watch reads its events in between.
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
  };
  // Each is several events, of four numbers each.
  await change(2000);
  const { ino } = Deno.statSync(tree.file("last"));
  let filled = 0;
  let isTold = false;
  let most = 0;
  await until("the last change is told", () => {
    for (let answer = outer.server.tryReceive(); answer !== null;) {
      const { kind, files = [] } = answer.message as { kind: string; files?: number[] };
      if (kind === "end") filled++;
      else ok(kind === "overflowed" || kind === "changed", kind);
      most = Math.max(most, files.length);
      equal(files.length % 4, 0);
      if (kind === "overflowed") isTold = true;
      isTold ||= files.some((number, at) => at % 4 === 2 && number === ino! % 2 ** 32);
      answer = outer.server.tryReceive();
    }
    return isTold;
  }, DEADLINE_MS);
  equal(filled, fill);
  ok(most <= 4096, `${most} numbers in a message`);
  // It goes in the middle of it.
  outer.fillQueue();
  await change(100);
});

/** Runs `body` with what asks for views; nothing of it may be left. */
function viewsTest(name: string, body: (outer: Outer) => Promise<void>): void {
  const run = async () => {
    {
      await using outer = new Outer({ pid: Deno.pid });
      await body(outer);
    }
    await until("the views' thread has ended", () => workerCount() === 0, DEADLINE_MS);
  };
  Deno.test({
    name,
    ignore: ignoreWithoutViews(),
    async fn() {
      // The runtime keeps something of its first Worker.
      await run();
      const before = countWithoutLoops();
      await run();
      await until("nothing is left", () => countWithoutLoops() === before, DEADLINE_MS);
    },
  });
}

/** Descriptors but those of event loops, an epoll and an eventfd each: the runtime closes a Worker's some time after its end. */
function countWithoutLoops(): number {
  const loops = [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).includes("eventpoll");
    } catch {
      // The listing's own.
      return false;
    }
  });
  return descriptorCount() - 2 * loops.length;
}

viewsTest("HostEyes: openViews, asked a thousand times, is done once", async (outer) => {
  const ask = (kind: string) => outer.server.send(JSON.stringify({ kind }));
  for (let i = 0; i < 1000; i++) await ask("openViews");
  deepEqual(await outer.answersTo("views"), [
    { message: { kind: "views", refusal: null }, fds: 1 },
  ]);
  equal(workerCount(), 1);
  for (let i = 0; i < 1000; i++) await ask(i % 3 === 0 ? "closeViews" : "openViews");
  await outer.drain();
  equal(outer.server.tryReceive(), null);
});

viewsTest("HostEyes: views that are open when the server goes are closed", async (outer) => {
  await outer.server.send('{"kind":"openViews"}');
  await outer.answersTo("views");
});

Deno.test("HostEyes: views for a process that is not there are refused, and leave nothing", async () => {
  const before = descriptorCount();
  {
    await using outer = new Outer();
    await outer.server.send('{"kind":"openViews"}');
    const [answer] = await outer.answersTo("views");
    equal(typeof answer!.message.refusal, "string");
    equal(answer!.fds, 0);
  }
  equal(descriptorCount(), before);
});

/** Threads of Workers. */
function workerCount(): number {
  return [...Deno.readDirSync("/proc/self/task")].filter(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${name}/comm`).startsWith("worker-");
    } catch {
      // It ends just now.
      return false;
    }
  }).length;
}
