import { deepEqual, equal } from "node:assert/strict";
import { checkHistory } from "../../src/check/coherence/linearizability.ts";
import type { Call } from "../../src/check/coherence/operations.ts";
import { EEXIST, EISDIR, ENOENT, ENOTDIR } from "../../src/sys/errno.ts";
import { A, B, C, call, EMPTY, INNER_A, inTurn, OPTIONS, value } from "./histories.ts";

function verdictOf(history: readonly Call[]): string {
  return checkHistory(OPTIONS, [EMPTY], history).kind;
}

/** The call that fails, as an index. */
function failsAt(history: readonly Call[], index: number): void {
  const verdict = checkHistory(OPTIONS, [EMPTY], history);
  equal(verdict.kind, "violation");
  if (verdict.kind === "violation") equal(history.indexOf(verdict.call), index);
}

Deno.test("one guest after the other: what was done is seen", () => {
  const history = inTurn(
    [0, { kind: "create", place: A }],
    [1, { kind: "stat", place: A }, "file 644, 1 links, 0 bytes"],
    [1, { kind: "write", place: A, value: value("x") }],
    [0, { kind: "read", place: A }, value("x")],
    [0, { kind: "link", place: A, target: B }],
    [1, { kind: "stat", place: B }, "file 644, 2 links, 16 bytes"],
    [1, { kind: "chmod", place: B, mode: 0o600 }],
    [0, { kind: "unlink", place: A }],
    [1, { kind: "stat", place: A }, -ENOENT],
    [1, { kind: "stat", place: B }, "file 600, 1 links, 16 bytes"],
    [0, { kind: "mkdir", place: INNER_A }],
    [1, { kind: "stat-directory", directory: 1 }, "dir 755, 3 links"],
    [1, { kind: "readdir", directory: 0 }, "b p"],
    [1, { kind: "unlink", place: INNER_A }, -EISDIR],
    [1, { kind: "rename", place: INNER_A, target: B }, -ENOTDIR],
    [1, { kind: "rename-exchange", place: INNER_A, target: B }],
    [0, { kind: "readdir", directory: 1 }, "a"],
    [0, { kind: "read", place: B }, -EISDIR],
    [0, { kind: "rewrite", place: INNER_A, value: value("y") }],
    [1, { kind: "read", place: INNER_A }, value("y")],
    [1, { kind: "symlink", place: C, value: value("nowhere") }],
    [0, { kind: "readlink", place: C }, value("nowhere")],
    [0, { kind: "rename-noreplace", place: C, target: B }, -EEXIST],
  );
  equal(verdictOf(history), "linearizable");
});

Deno.test("at the same time either order will do, and only one of two makers succeeds", () => {
  const racing = (first: number, second: number) => [
    call(0, [1, 3], { kind: "create", place: A }, first),
    call(1, [2, 4], { kind: "create", place: A }, second),
  ];
  equal(verdictOf(racing(0, -EEXIST)), "linearizable");
  equal(verdictOf(racing(-EEXIST, 0)), "linearizable");
  equal(verdictOf(racing(0, 0)), "violation");
  equal(verdictOf(racing(-EEXIST, -EEXIST)), "violation");
});

Deno.test("a walk and what follows are two steps: another may take the name meanwhile, but nothing else is excused", () => {
  const during = (links: number, mode: string) => [
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 10], { kind: "stat", place: A }, `file ${mode}, ${links} links, 0 bytes`),
    call(1, [4, 5], { kind: "rename", place: A, target: B }),
    call(1, [6, 7], { kind: "chmod", place: B, mode: 0o600 }),
    call(1, [8, 9], { kind: "unlink", place: B }),
  ];
  equal(verdictOf(during(1, "644")), "linearizable");
  equal(verdictOf(during(1, "600")), "linearizable");
  equal(verdictOf(during(0, "600")), "linearizable");
  equal(verdictOf(during(0, "644")), "violation");
});

Deno.test("open files outlive their names", () => {
  const history = inTurn(
    [0, { kind: "create-open", place: A, handle: 0 }],
    [1, { kind: "write", place: A, value: value("x") }],
    [1, { kind: "unlink", place: A }],
    [0, { kind: "pread", handle: 0 }, value("x")],
    [0, { kind: "fstat", handle: 0 }, "file 644, 0 links, 16 bytes"],
    [0, { kind: "ftruncate", handle: 0, size: 0 }],
    [0, { kind: "pread", handle: 0 }, ""],
    [0, { kind: "close", handle: 0 }],
  );
  equal(verdictOf(history), "linearizable");
});

Deno.test("a stale read is a violation", () => {
  failsAt(
    inTurn(
      [0, { kind: "create", place: A }],
      [0, { kind: "write", place: A, value: value("old") }],
      [1, { kind: "read", place: A }, value("old")],
      [0, { kind: "write", place: A, value: value("new") }],
      [1, { kind: "read", place: A }, value("old")],
    ),
    4,
  );
});

Deno.test("a stale attribute, listing, link count and name that is not there are violations", () => {
  const create = [0, { kind: "create", place: A }] as const;
  failsAt(inTurn(create, [1, { kind: "stat", place: A }, -ENOENT]), 1);
  failsAt(inTurn(create, [1, { kind: "readdir", directory: 0 }, "p"]), 1);
  const chmod = [0, { kind: "chmod", place: A, mode: 0o600 }] as const;
  failsAt(
    inTurn(create, chmod, [1, { kind: "stat", place: A }, "file 644, 1 links, 0 bytes"]),
    2,
  );
  const link = [0, { kind: "link", place: A, target: B }] as const;
  failsAt(inTurn(create, link, [1, { kind: "stat", place: B }, "file 644, 1 links, 0 bytes"]), 2);
  failsAt(
    inTurn([0, { kind: "mkdir", place: A }], [
      1,
      { kind: "stat-directory", directory: 0 },
      "dir 755, 3 links",
    ]),
    1,
  );
});

Deno.test("a lost write is a violation", () => {
  failsAt(
    inTurn(
      [0, { kind: "create", place: A }],
      [0, { kind: "write", place: A, value: value("kept") }],
      [1, { kind: "write", place: A, value: value("lost") }],
      [0, { kind: "read", place: A }, value("kept")],
    ),
    3,
  );
  // The host's own look decides, too.
  failsAt(
    inTurn(
      [0, { kind: "create", place: A }],
      [1, { kind: "write", place: A, value: value("lost") }],
      [-1, { kind: "host-sees" }, "755; 755; /a file 644 empty"],
    ),
    2,
  );
});

Deno.test("a name that comes back is a violation", () => {
  failsAt(
    inTurn(
      [0, { kind: "create", place: A }],
      [0, { kind: "unlink", place: A }],
      [1, { kind: "stat", place: A }, -ENOENT],
      [1, { kind: "stat", place: A }, "file 644, 1 links, 0 bytes"],
    ),
    3,
  );
  // One of two removers finds nothing.
  const history = [
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 5], { kind: "unlink", place: A }),
    call(1, [4, 6], { kind: "unlink", place: A }),
  ];
  equal(verdictOf(history), "violation");
});

Deno.test("a torn rename is a violation: neither name, both names, or a gap where another was replaced", () => {
  const renaming = (listing: string) => [
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 6], { kind: "rename", place: A, target: B }),
    call(1, [4, 5], { kind: "readdir", directory: 0 }, listing),
  ];
  equal(verdictOf(renaming("a p")), "linearizable");
  equal(verdictOf(renaming("b p")), "linearizable");
  equal(verdictOf(renaming("p")), "violation");
  // A name that was added while the directory was read may be in the listing, too.
  equal(verdictOf(renaming("a b p")), "linearizable");
  const after = renaming("a b p").map((each) =>
    each.guest === 1 ? { ...each, invoked: 7, returned: 8 } : each
  );
  equal(verdictOf(after), "violation");
  const replacing = (result: string | number) => [
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 4], { kind: "create", place: B }),
    call(0, [5, 8], { kind: "rename", place: A, target: B }),
    call(1, [6, 7], { kind: "stat", place: B }, result),
  ];
  equal(verdictOf(replacing("file 644, 1 links, 0 bytes")), "linearizable");
  equal(verdictOf(replacing("file 644, 0 links, 0 bytes")), "linearizable");
  equal(verdictOf(replacing(-ENOENT)), "violation");
});

Deno.test("what was made and is gone before it was looked up may be answered with ENOENT, if it is gone", () => {
  const racing = (remover: number) => [
    call(0, [1, 6], { kind: "mkdir", place: A }, -ENOENT),
    call(1, [2, 3], { kind: "rmdir", place: A }, remover),
  ];
  equal(verdictOf(racing(0)), "linearizable");
  equal(verdictOf(racing(-ENOENT)), "violation");
  equal(verdictOf(inTurn([0, { kind: "create", place: A }, -ENOENT])), "violation");
});

Deno.test("a violation says what would have been possible", () => {
  const history = [
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 6], { kind: "write", place: A, value: value("x") }),
    call(1, [4, 5], { kind: "read", place: A }, value("y")),
  ];
  const verdict = checkHistory(OPTIONS, [EMPTY], history);
  equal(verdict.kind, "violation");
  if (verdict.kind === "violation") deepEqual(verdict.possible, ["", value("x")]);
});

Deno.test("what has not returned may have happened or not, and both states go on", () => {
  const history = [
    call(0, [1, Infinity], { kind: "create", place: A }),
    call(1, [2, 3], { kind: "stat", place: A }, -ENOENT),
    call(1, [4, 5], { kind: "stat", place: A }, "file 644, 1 links, 0 bytes"),
  ];
  equal(verdictOf(history), "linearizable");
  const writers = [
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 5], { kind: "write", place: A, value: value("x") }),
    call(1, [4, 6], { kind: "write", place: A, value: value("y") }),
  ];
  const verdict = checkHistory(OPTIONS, [EMPTY], writers);
  equal(verdict.kind, "linearizable");
  if (verdict.kind === "linearizable") equal(verdict.states.length, 2);
});
