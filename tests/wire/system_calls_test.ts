import { deepEqual, equal } from "node:assert/strict";
import { SYSTEM_CALLS } from "../../src/wire/system_calls.ts";
import { NEWER_CALLS } from "./header_names.ts";
import { haveCompiler } from "../../tools/layout_check.ts";

const compiler = await haveCompiler();

/** What uapi/asm/unistd.h of arm64 says before it includes the common table. */
const ARM64 = [
  "__BITS_PER_LONG=64",
  "__ARCH_WANT_RENAMEAT",
  "__ARCH_WANT_NEW_STAT",
  "__ARCH_WANT_SET_GET_RLIMIT",
  "__ARCH_WANT_SYS_CLONE3",
];

/** Names and numbers of the table that newer architectures have in common. */
async function commonTable(): Promise<Map<string, number>> {
  const { stdout } = await new Deno.Command("cc", {
    args: [
      ...ARM64.map((name) => `-D${name}`),
      ...["-E", "-dM", "-include", "asm-generic/unistd.h", "-x", "c", "/dev/null"],
    ],
    stderr: "inherit",
  }).output();
  const defined = new Map<string, string>();
  for (const line of new TextDecoder().decode(stdout).split("\n")) {
    const match = /^#define (__NR\w*_\w+) (\S+)$/.exec(line);
    if (match !== null) defined.set(match[1]!, match[2]!);
  }
  const table = new Map<string, number>();
  for (const [name, value] of defined) {
    const number = Number(/^\d+$/.test(value) ? value : defined.get(value));
    if (name.startsWith("__NR_")) table.set(name.slice("__NR_".length), number);
  }
  return table;
}

Deno.test({
  name: "aarch64's system calls have the numbers of the common table",
  ignore: !compiler,
  fn: async () => {
    const table = await commonTable();
    equal(table.size > 250, true, "the header has a table");
    const wrong: string[] = [];
    for (const [name, [, ours]] of Object.entries(SYSTEM_CALLS)) {
      if (NEWER_CALLS.has(name)) continue;
      const theirs = table.get(name) ?? null;
      if (theirs !== ours) wrong.push(`${name}: ${ours}, the header says ${theirs}`);
    }
    deepEqual(wrong, []);
  },
});

Deno.test("no two names have one number", () => {
  for (const column of [0, 1]) {
    const numbers = Object.values(SYSTEM_CALLS).map((pair) => pair[column]!)
      .filter((number) => number !== null);
    equal(new Set(numbers).size, numbers.length);
  }
});
