/**
 * Property tests as Deno tests. A failure prints the command that runs just the failing case again.
 *
 * @module
 */

import fc from "fast-check";

/** Runs of one property; PROPERTY_RUNS raises it for a long search. */
const RUN_COUNT = Number(Deno.env.get("PROPERTY_RUNS") ?? 200);

/** A Deno test that holds for everything `arbitrary` makes. `file` is the test's `import.meta.url`. */
export function property<T>(
  name: string,
  file: string,
  arbitrary: fc.Arbitrary<T>,
  holds: (value: T) => void,
  runs: number = RUN_COUNT,
): void {
  Deno.test(name, () => {
    const seed = Deno.env.get("PROPERTY_SEED");
    const path = Deno.env.get("PROPERTY_PATH");
    const details = fc.check(fc.property(arbitrary, holds), {
      numRuns: runs,
      ...(seed === undefined ? {} : { seed: Number(seed) }),
      ...(path === undefined ? {} : { path }),
    });
    if (!details.failed) return;
    const test = file.slice(file.indexOf("/tests/") + 1);
    const replay = `PROPERTY_SEED=${details.seed} PROPERTY_PATH=${details.counterexamplePath} ` +
      `deno test -A ${test} --filter "${name}"`;
    throw new Error(
      `${(details.errorInstance as Error)?.stack ?? details.errorInstance}\n` +
        `counterexample: ${fc.stringify(details.counterexample)}\nreplay: ${replay}`,
    );
  });
}
