/**
 * Runs the POSIX checks on a directory:
 *
 *     deno run -A tests/posix/run.ts DIR [--json] [--filter RE] [--without NEED,...]
 *
 * One line per failed check (with --json: one JSON object per check), a summary, exit status 1 when
 * any check failed and 2 for bad arguments. Every directory above DIR must be searchable by all.
 *
 * What a place is known not to have is said by --without and counted in the summary: tmpfs has no
 * `zero-range` (and before Linux 6.6 no `xattr`), overlayfs no `whiteout` and no `zero-range`.
 * In a guest with a read-only checkout, HOME and DENO_DIR must be writable, and
 * `deno run -A --no-lock --no-config` needs no network: all imports are local.
 *
 * @module
 */

import { hostCalls } from "../../src/check/posix/host_calls.ts";
import { type Need, NEEDS } from "../../src/check/posix/check.ts";
import { checkNames, CheckRun } from "../../src/check/posix/run_checks.ts";

const USAGE = `usage: run.ts DIR [--json] [--filter RE] [--without NEED,...]
needs: ${NEEDS.join(" ")}`;

interface Arguments {
  readonly directory: string;
  readonly json: boolean;
  readonly filter: RegExp | undefined;
  readonly without: ReadonlySet<Need>;
}

function usageError(message: string): never {
  console.error(`run.ts: ${message}\n${USAGE}`);
  Deno.exit(2);
}

function isNeed(name: string): name is Need {
  return (NEEDS as readonly string[]).includes(name);
}

function parseArguments(args: readonly string[]): Arguments {
  let directory: string | undefined;
  let json = false;
  let filter: RegExp | undefined;
  const without = new Set<Need>();
  const rest = [...args];
  while (rest.length > 0) {
    const argument = rest.shift()!;
    if (argument === "--json") json = true;
    else if (argument === "--filter") filter = new RegExp(rest.shift() ?? usageError("no filter"));
    else if (argument === "--without") {
      for (const name of (rest.shift() ?? usageError("no needs")).split(",")) {
        if (!isNeed(name)) usageError(`there is no need "${name}"`);
        without.add(name);
      }
    } else if (argument.startsWith("-")) usageError(`unknown option ${argument}`);
    else if (directory === undefined) directory = argument;
    else usageError("more than one directory");
  }
  return { directory: directory ?? usageError("no directory"), json, filter, without };
}

async function main(): Promise<number> {
  const { directory, json, filter, without } = parseArguments(Deno.args);
  const names = checkNames(filter);
  const skipped = new Map<Need, number>();
  let passed = 0, failed = 0;
  const start = performance.now();
  {
    using run = new CheckRun(hostCalls, Deno.realPathSync(directory), without);
    for (const name of names) {
      const result = await run.run(name);
      if (json) console.log(JSON.stringify(result));
      if (result.skipped !== undefined) {
        skipped.set(result.skipped, (skipped.get(result.skipped) ?? 0) + 1);
      } else if (result.ok) passed++;
      else {
        failed++;
        if (!json) console.log(`FAILED  ${name}\n        ${result.detail}`);
      }
    }
  }
  const seconds = Math.round((performance.now() - start) / 100) / 10;
  const left = [...skipped].map(([need, count]) => `${count} need ${need}`).join(", ");
  if (json) {
    const skips = Object.fromEntries(skipped);
    console.log(JSON.stringify({ summary: { passed, failed, skipped: skips, seconds } }));
  } else {
    console.log(
      `${passed} passed, ${failed} failed${left && `, skipped: ${left}`} (${seconds} s)`,
    );
  }
  return failed === 0 && passed > 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
