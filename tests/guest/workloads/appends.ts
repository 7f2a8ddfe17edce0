/**
 * Appending from both sides at once.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must } from "./expect.ts";
import * as libc from "./libc.ts";
import { mustPerl } from "./processes.ts";
import type { Workload } from "./workload.ts";

const APPEND = `
my ($path, $me) = @ARGV; sysopen(my $f, $path, O_WRONLY|O_APPEND) or die $!;
for my $i (1..200) { my $line = sprintf("%d %03d %s\\n", $me, $i, "y" x 50); syswrite($f, $line) == length $line or die "write: $!"; } close $f or die;
`;

/** Several guest processes append to one file: no line is lost or torn. */
export const appendByMany: Workload = {
  name: "append-by-many",
  core: true,
  async run({ dir }) {
    Deno.writeTextFileSync(`${dir}/log`, "");
    await Promise.all(["1", "2", "3"].map((me) => mustPerl(APPEND, [`${dir}/log`, me])));
    checkLines(Deno.readTextFileSync(`${dir}/log`));
  },
  verify({ dir }) {
    checkLines(Deno.readTextFileSync(`${dir}/log`));
  },
};

function checkLines(text: string): void {
  const lines = text.trimEnd().split("\n");
  assert.equal(lines.length, 600);
  for (const me of ["1", "2", "3"]) {
    const own = lines.filter((line) => line.startsWith(`${me} `));
    const expected = Array.from(
      { length: 200 },
      (_, i) => `${me} ${String(i + 1).padStart(3, "0")} ${"y".repeat(50)}`,
    );
    assert.deepEqual(own, expected);
  }
}

/** The guest and the host append by turns through descriptors that both keep open. */
export const appendFromTwoSides: Workload = {
  name: "append-from-two-sides",
  core: true,
  // With a write-back cache the guest's idea of the size rules, by design.
  notFor: ({ writeback }) => writeback ? "the guest owns the size with a write-back cache" : null,
  async run({ dir, host, isVirtiofs }) {
    if (!isVirtiofs) return { isDone: false };
    const fd = must(
      libc.open(`${dir}/log`, libc.O.WRONLY | libc.O.CREAT | libc.O.APPEND, 0o644),
      "",
    );
    const encoder = new TextEncoder();
    for (let i = 0; i < 10; i++) {
      const line = encoder.encode(`guest ${i}\n`);
      assert.equal(libc.write(fd, line), line.length);
      await host({ do: "append", name: "log", text: `host ${i}\n` });
    }
    libc.close(fd);
    return { isDone: true };
  },
  verify({ dir }, { isDone }) {
    if (isDone !== true) return;
    const expected = Array.from({ length: 10 }, (_, i) => `guest ${i}\nhost ${i}\n`).join("");
    assert.equal(Deno.readTextFileSync(`${dir}/log`), expected);
  },
};
