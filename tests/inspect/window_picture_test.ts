// deno-lint-ignore-file no-control-regex
import { deepEqual, equal, match } from "node:assert/strict";
import { picture } from "../../src/inspect/window_picture.ts";
import { windowFiles } from "../../src/inspect/window_cells.ts";
import { mapping, NOW, windowView } from "./reports.ts";

const plain = { width: 80, colour: false, by: "file", now: NOW } as const;

Deno.test("picture() has a cell for each range", () => {
  const view = windowView(128, [
    mapping(0, 3),
    mapping(64, 1, { nodeid: 7, path: "/b", since: NOW - 70_000 }),
    mapping(65, 1, { nodeid: 7, path: "/b", state: "going" }),
  ]);
  deepEqual(
    picture(view, plain),
    [
      "  0 MiB  aaa" + ".".repeat(61),
      "128 MiB  b-" + ".".repeat(62),
      "",
      "one cell: 2 MiB   . free",
      "- going",
      "a     3 ranges             1 s  /a",
      "b     2 ranges       1 s–1 min  /b",
    ],
  );
});

Deno.test("picture() by age has a digit for each class", () => {
  const ages = [500, 5000, 50_000, 500_000, 3_000_000, 9_000_000];
  const view = windowView(64, ages.map((age, i) => mapping(i, 1, { since: NOW - age })));
  const lines = picture(view, { ...plain, by: "age" });
  equal(lines[0], "  0 MiB  012345" + ".".repeat(58));
  equal(lines.at(-1), "5  1 h and more");
});

Deno.test("picture() in colour differs from the plain one by escape sequences only", () => {
  const view = windowView(256, [mapping(3, 2), mapping(9, 4, { nodeid: 3 })]);
  for (const by of ["file", "age"] as const) {
    const coloured = picture(view, { ...plain, by, colour: true });
    match(coloured[0]!, /\x1b\[38;5;16;48;5;\d+m/);
    const stripped = coloured.map((line) => line.replace(/\x1b\[[\d;]*m/g, ""));
    deepEqual(stripped, picture(view, { ...plain, by }));
  }
});

Deno.test("picture() of a large window in a small terminal fits", () => {
  const view = windowView(65536, [mapping(65535, 1)]);
  const lines = picture(view, { ...plain, width: 40, height: 16 });
  equal(lines.indexOf(""), 16);
  equal(lines[15]!.endsWith(".a"), true);
  for (const line of lines) equal(line.length <= 40, true, line);
});

Deno.test("picture() has no more letters than there are, and says how many files it leaves out", () => {
  const view = windowView(
    128,
    Array.from({ length: 100 }, (_, i) => mapping(i, 1, { nodeid: i + 2, path: null })),
  );
  const lines = picture(view, plain);
  equal(lines[1]!.includes("#"), true);
  equal(lines.at(-1), "… and 84 more files");
});

Deno.test("picture() of no window says so", () => {
  deepEqual(picture(windowView(0, []), plain), ["No front end has asked for a DAX window."]);
});

Deno.test("picture() keeps control characters of names from the terminal", () => {
  const view = windowView(64, [mapping(0, 1, { path: "/a\x1b[2J\n" })]);
  equal(picture(view, plain).join("").includes("\x1b"), false);
});

Deno.test("windowFiles() counts a range once, and cuts what lies beyond the window", () => {
  const view = windowView(4, [
    mapping(0, 0.5),
    mapping(0.5, 0.5),
    mapping(3, 100, { path: "/elsewhere" }),
  ]);
  equal(windowFiles(view)[0]!.ranges, 2);
  equal(picture(view, plain)[0]!.trim(), "0 MiB  a..a");
});
