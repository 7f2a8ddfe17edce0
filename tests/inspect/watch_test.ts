// deno-lint-ignore-file no-control-regex
import { deepEqual, equal, match } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Guest } from "../../src/guest/guest.ts";
import { run, RunningProgram, Workplace } from "../cli/program.ts";
import { CHROMIUM, view } from "./chromium.ts";
import { parseOpenMetrics } from "./open_metrics_parser.ts";
import { servingPid } from "../support/serving_process.ts";
import { Terminal, TMUX } from "./terminal.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const MIB = 1024 ** 2;

/** A daemon with a guest that has read a file through its DAX window, and the process that serves. */
async function withGuest(
  test: (place: Workplace, guest: Guest, pid: number, daemon: RunningProgram) => Promise<void>,
): Promise<void> {
  using place = new Workplace();
  Deno.writeFileSync(`${place.share}/big & bold`, new Uint8Array(8 * MIB));
  const daemon = new RunningProgram([
    ...["serve", "--shared-dir", place.share, "--socket-path", place.socket],
    ...["--dax-window", "64M", "--dax", "always"],
  ]);
  try {
    await daemon.stderrHolds("Waiting for vhost-user socket connection");
    await using guest = await Guest.connect({ socketPath: place.socket, dax: "always" });
    equal(guest.readFileSync("/big & bold").length, 8 * MIB);
    await test(place, guest, servingPid(daemon.pid), daemon);
  } finally {
    try {
      daemon.kill("SIGTERM");
    } catch {
      // It ended when the guest left.
    }
    await daemon.outcome();
  }
}

/** Looks at files until it is told to stop. */
async function busy(guest: Guest, until: Promise<unknown>): Promise<void> {
  let isOver = false;
  until.finally(() => isOver = true).catch(() => {});
  while (!isOver) {
    try {
      guest.statSync("/none");
    } catch {
      // As it should be.
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test({
  name: "inspect --watch shows figures that move, and gives the terminal back",
  ignore: TMUX === null,
  fn: async () => {
    await withGuest(async (place, guest, pid, daemon) => {
      using terminal = new Terminal(110, 30);
      const command = `${Deno.execPath()} run -A --quiet ${MAIN} inspect`;
      const watching = watchOps(terminal, command, place, pid);
      await busy(guest, watching);
      await watching;
      terminal.enter(`clear; ${command} window --socket-path ${place.socket} --watch 0.2`);
      const window = await terminal.seen(/big & bold/);
      match(window, /64 MiB in ranges of 2 MiB: 4 used/);
      match(window, /0 MiB {2}[a.]{32}/);
      match(terminal.screen(true), /\x1b\[38;5;16m?;?\S*48;5;\d+m/);
      daemon.kill("SIGKILL");
      match(await terminal.seen(/error: /), new RegExp(`The daemon ${pid} has ended`));
      equal(terminal.alternate, false);
    });
  },
});

async function watchOps(
  terminal: Terminal,
  command: string,
  place: Workplace,
  pid: number,
): Promise<void> {
  terminal.enter(`${command} ops --socket-path ${place.socket} --watch 0.2; echo code=$?`);
  const first = await terminal.seen(/LOOKUP[^]*SETUPMAPPING|SETUPMAPPING[^]*LOOKUP/);
  match(first, new RegExp(`^virtiofsd-ts inspect ops .* pid ${pid} {2}/.*share\n`));
  const count = (screen: string) => Number(/LOOKUP +([\d,]+)/.exec(screen)![1]!.replace(",", ""));
  await terminal.seen(/\d\d:\d\d:\d\d {2}[1-9][\d,.]* requests\/s, [1-9]\S* errors\/s/);
  equal(count(terminal.screen()) > count(first), true);
  terminal.press("q");
  await terminal.seen(/code=0/);
  deepEqual([terminal.alternate, terminal.cursor], [false, true]);
}

Deno.test("inspect --watch --json prints a line each time", async () => {
  await withGuest(async (place) => {
    const words = ["summary", "--socket-path", place.socket, "--json", "--watch", "0.1"];
    const { stdout } = await new Deno.Command("bash", {
      args: [
        ...["-c", `"$@" | head -n 3`, "bash", Deno.execPath(), "run", "-A", "--quiet", MAIN],
        ...["inspect", ...words],
      ],
    }).output();
    const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
    deepEqual(lines.map((line) => JSON.parse(line).view), ["summary", "summary", "summary"]);
  });
});

Deno.test("inspect --prometheus prints what the daemon has served", async () => {
  await withGuest(async (place, guest, pid) => {
    const { code, stdout } = await run(["inspect", "--prometheus", "--socket-path", place.socket]);
    equal(code, 0);
    const families = parseOpenMetrics(stdout);
    const sum = (name: string, opcode: string) =>
      families.get(name)!.samples.filter(({ labels }) =>
        labels.get("opcode") === opcode && labels.get("pid") === String(pid)
      ).reduce((total, { value }) => total + value, 0);
    const sent = guest.traffic.find(({ name }) => name === "SETUPMAPPING")!.requests;
    equal(sum("virtiofsd_requests", "SETUPMAPPING"), sent);
    const used = families.get("virtiofsd_window_ranges_used")!.samples[0]!;
    equal(used.value, 4);
  });
});

Deno.test({
  name: "inspect --html writes a page that a browser shows, for this user alone",
  ignore: CHROMIUM === null,
  fn: async () => {
    await withGuest(async (place, _guest, pid) => {
      const path = `${place.directory}/page.html`;
      const { code, stderr } = await run([
        "inspect",
        "--socket-path",
        place.socket,
        "--html",
        path,
      ]);
      equal(code, 0, stderr);
      equal(Deno.statSync(path).mode! & 0o777, 0o600);
      const { dom, console, screenshot } = await view(path, place.directory);
      deepEqual(console, []);
      equal(screenshot.length > 50_000, true);
      equal(dom.includes(`Daemon ${pid}`), true);
      equal(dom.includes("/big &amp; bold"), true);
      // 32 ranges by file, and by age.
      equal(dom.match(/<rect class="free"/g)!.length, 2 * 28);
      match(dom, /<title>\/big &amp; bold at 0 B \| 0 B to 2 MiB \| \S+, live/);
    });
  },
});

Deno.test("inspect refuses ways of showing that exclude each other", async () => {
  const mistakes = [
    ["ops", "--html", "x"],
    ["--prometheus", "--json"],
    ["--watch", "--html", "x"],
    ["--watch", "0"],
    ["--html", ""],
  ];
  for (const words of mistakes) {
    const { code, stderr } = await run(["inspect", ...words]);
    equal(code, 2, `${words}: ${stderr}`);
  }
});
