import { deepEqual, equal } from "node:assert/strict";
import { displayWidth, printable, shortened } from "../../src/inspect/display_width.ts";
import { globMatcher } from "../../src/inspect/glob.ts";
import { textTable } from "../../src/inspect/text_table.ts";

interface Row {
  readonly path: string;
  readonly count: string;
  readonly note: string;
}

const COLUMNS = [
  { title: "PATH", shortens: "middle", cell: ({ path }: Row) => path },
  { title: "COUNT", isFigure: true, cell: ({ count }: Row) => count },
  { title: "NOTE", shortens: "end", cell: ({ note }: Row) => note },
] as const;
const ROWS: readonly Row[] = [
  { path: "/short", count: "7", note: "" },
  { path: "/a/very/long/path/of/a/file.txt", count: "1,234", note: "12 ENOENT, 3 EIO" },
];

Deno.test("textTable() aligns columns, figures to the right, and leaves no blanks at the end", () => {
  deepEqual(textTable(COLUMNS, ROWS, null), [
    "PATH                             COUNT  NOTE",
    "/short                               7",
    "/a/very/long/path/of/a/file.txt  1,234  12 ENOENT, 3 EIO",
  ]);
});

Deno.test("textTable() fits a terminal: paths lose their middle, lists their end, figures nothing", () => {
  deepEqual(textTable(COLUMNS, ROWS, 40), [
    "PATH             COUNT  NOTE",
    "/short               7",
    "/a/v…a/file.txt  1,234  12 ENOENT, 3 EIO",
  ]);
  for (let width = 1; width < 60; width++) {
    for (const line of textTable(COLUMNS, ROWS, width)) {
      equal(displayWidth(line) <= width, true, `${width}: ${line}`);
    }
  }
});

Deno.test("textTable() aligns by what characters take on a terminal", () => {
  const rows = [
    { path: "日本語", count: "1", note: "" },
    { path: "e\u0301té", count: "2", note: "" },
    { path: "a\u001b[2Jb", count: "3", note: "" },
  ];
  deepEqual(textTable(COLUMNS, rows, null), [
    "PATH       COUNT  NOTE",
    "日本語         1",
    "e\u0301té            2",
    "a\\x1b[2Jb      3",
  ]);
});

Deno.test("printable() lets nothing through that moves, hides or turns text around", () => {
  equal(
    printable("a\nb\tc\u007f\u009b\u202e\u200b\ud800"),
    "a\\x0ab\\x09c\\x7f\\x9b\\u{202e}\\u{200b}\\u{d800}",
  );
  equal(printable("größe/日本"), "größe/日本");
});

Deno.test("shortened() keeps the width", () => {
  equal(shortened("abcdef", 6, "end"), "abcdef");
  equal(shortened("abcdef", 4, "end"), "abc…");
  equal(shortened("abcdefghij", 7, "middle"), "ab…ghij");
  for (let width = 0; width < 14; width++) {
    equal(displayWidth(shortened("日本語日本語", width, "middle")) <= width, true);
  }
});

Deno.test("globMatcher(): names without a slash, paths with one", () => {
  const matches = (pattern: string, path: string) => globMatcher(pattern)(path);
  equal(matches("*.c", "/src/a.c"), true);
  equal(matches("*.c", "/src/a.cc"), false);
  equal(matches("/src/*.c", "/src/a.c"), true);
  equal(matches("/src/*.c", "/src/x/a.c"), false);
  equal(matches("/src/**.c", "/src/x/a.c"), true);
  equal(matches("/s?c/[a]", "/src/[a]"), true);
  equal(matches("/s?c/[a]", "/src/a"), false);
});
