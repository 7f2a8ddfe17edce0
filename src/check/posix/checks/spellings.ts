/**
 * Which bytes a name may be made of.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { RENAME } from "../linux_constants.ts";
import type { Scope } from "../scope.ts";
import { type Path, sys } from "../system_calls.ts";

const encoder = new TextEncoder();

/** A path in the check's directory whose name is these bytes. */
function bytePath(t: Scope, name: readonly number[]): Path {
  return new Uint8Array([...encoder.encode(`${t.dir}/`), ...name]);
}

/** Adds the family. */
export function spellingsChecks(add: Add): void {
  for (let first = 1; first < 256; first += 16) {
    const bytes = Array.from({ length: 16 }, (_, i) => first + i)
      .filter((b) => b < 256 && b !== 0x2f && b !== 0x2e);
    const label = `${first.toString(16)}..${Math.min(first + 15, 255).toString(16)}`;
    add(`names: each byte ${label} is a name`, (t) => {
      for (const b of bytes) {
        for (const name of [[b], [0x61, b], [b, b, b]]) {
          const path = bytePath(t, name);
          t.ok(sys.mkdir(path), `mkdir of bytes ${name}`);
          const seen = t.entries(t.dir).some((e) => e.name.join() === name.join());
          t.that(seen, `bytes ${name} are not listed`);
          t.ok(sys.renameat2(path, t.path("moved"), RENAME.NOREPLACE), "rename");
          t.errno(sys.lstat(path), "ENOENT", "lstat");
          t.ok(sys.rmdir(t.path("moved")), "rmdir");
        }
      }
    });
  }
  const names = [
    "...",
    ".hidden",
    " ",
    "a b",
    "tab\there",
    "line\nfeed",
    "-rf",
    "*",
    "\\",
    "é",
    "e\u0301",
  ];
  for (const name of names) {
    add(`names: ${JSON.stringify(name)} is kept apart`, (t) => {
      t.file(name);
      t.equal(t.names(t.dir).join(), name, "listing");
      t.equal(t.content(t.path(name)), "content", "content");
    });
  }
  add("names: letters of either case are different", (t) => {
    t.file("Name");
    t.file("name");
    t.equal(t.names(t.dir).length, 2, "files");
  });
}
