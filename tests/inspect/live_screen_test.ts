import { deepEqual, equal, match } from "node:assert/strict";
import { Terminal, TMUX } from "./terminal.ts";

const PROGRAM = new URL("live_program.ts", import.meta.url).pathname;
const ignore = TMUX === null;
/** The terminal's modes before and after, and the exit code. */
const RUN = `stty -g >a; ${Deno.execPath()} run -A ${PROGRAM}`;
const THEN = `; echo code=$?; stty -g >b; cmp a b && echo same modes`;

function terminal(): Terminal & { run: (args?: string) => void } {
  const made = new Terminal(60, 12);
  return Object.assign(made, {
    run: (args = "") => made.enter(`cd $(mktemp -d); clear; ${RUN} ${args}${THEN}`),
  });
}

Deno.test({
  name: "watchLive() draws over what was there, in the room that there is",
  ignore,
  fn: async () => {
    using screen = terminal();
    screen.run();
    const first = (await screen.seen(/drawing \d+ on 60 x 12/)).trimEnd().split("\n");
    equal(first.length, 12);
    equal(screen.alternate, true);
    equal(screen.cursor, false);
    equal(first[2], "line 0");
    equal(first[11], "… 11 more lines");
    await screen.seen(/drawing \d+ on 60 x 12\nx{60}\nline 0/);
    // Nothing of the long line is left.
    await screen.seen(/drawing \d+ on 60 x 12\nshort\nline 0/);
    screen.resize(40, 8);
    match(await screen.seen(/drawing \d+ on 40 x 8/), /… 15 more lines/);
    screen.press("q");
    await screen.seen(/code=0\nsame modes/);
    equal(screen.alternate, false);
    equal(screen.cursor, true);
    equal(screen.screen().includes("drawing"), false);
  },
});

for (const [what, key, code] of [["Ctrl-C", "C-c", 0], ["q", "q", 0]] as const) {
  Deno.test({
    name: `watchLive() ends on ${what} and gives the terminal back`,
    ignore,
    fn: async () => {
      using screen = terminal();
      screen.run();
      await screen.seen(/drawing [2-9]/);
      screen.press(key);
      await screen.seen(new RegExp(`code=${code}\nsame modes`));
      deepEqual([screen.alternate, screen.cursor], [false, true]);
    },
  });
}

Deno.test({
  name: "watchLive() gives the terminal back after an error, which is then seen",
  ignore,
  fn: async () => {
    using screen = terminal();
    screen.run("3");
    match(await screen.seen(/code=1\nsame modes/), /Cannot draw|live_screen/);
    deepEqual([screen.alternate, screen.cursor], [false, true]);
  },
});

Deno.test({
  name: "watchLive() is suspended by Ctrl-Z and goes on",
  ignore,
  fn: async () => {
    using screen = terminal();
    screen.enter(`clear; ${Deno.execPath()} run -A ${PROGRAM}`);
    await screen.seen(/drawing [2-9]/);
    screen.press("C-z");
    await screen.seen(/Stopped|Suspended/);
    deepEqual([screen.alternate, screen.cursor], [false, true]);
    equal(screen.screen().includes("line 1"), false);
    screen.enter("fg");
    await screen.seen(/drawing \d+/);
    equal(screen.alternate, true);
    screen.press("q");
    await screen.seen(/Stopped|Suspended/);
    equal(screen.alternate, false);
    equal(screen.screen().includes("line 1"), false);
  },
});

Deno.test("watchLive() without a terminal prints one drawing per interval, whole, until nobody reads", async () => {
  const { code, stdout } = await new Deno.Command("bash", {
    args: ["-c", `"$@" | head -n 60; exit \${PIPESTATUS[0]}`, "bash"].concat(
      Deno.execPath(),
      ["run", "-A", "--quiet", PROGRAM],
    ),
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  equal(code, 0);
  match(text, /^drawing 1 on 80 x Infinity\nshort\n/);
  match(text, /line 19\S*\n\ndrawing 2 on 80/);
  equal(text.includes("\x1b[?"), false);
});
