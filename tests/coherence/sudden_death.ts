/**
 * Death at a chosen instruction: other processes see of a daemon what it writes with atomics, so each of those is an instant to die at.
 *
 * @module
 */

const WRITES = ["add", "and", "compareExchange", "exchange", "or", "store"] as const;

/** Thrown in place of the deadly write, and of all that come after it: the dead write nothing. */
class Death extends Error {
  override name = "Death";
}

/**
 * Runs `life` up to its atomic write number `at` (from 1), which is not made any more. Returns whether it came to that: if not, `life` has come to its
 * end.
 */
export function dieAtWrite(at: number, life: () => void): boolean {
  let writes = 0;
  return withWrites(() => {
    if (++writes >= at) throw new Death();
  }, () => {
    try {
      life();
      return false;
    } catch (error) {
      if (error instanceof Death) return true;
      throw error;
    }
  });
}

/** Kills this process at its atomic write number `at`, counted from here. */
export function killAtWrite(at: number): void {
  let writes = 0;
  patch(() => {
    if (++writes >= at) {
      Deno.kill(Deno.pid, "SIGKILL");
      // The signal may be taken by another thread first.
      for (;;);
    }
  });
}

function withWrites<T>(before: () => void, body: () => T): T {
  const restore = patch(before);
  try {
    return body();
  } finally {
    restore();
  }
}

/** Has `before` called at each atomic write of this thread. Returns what ends that. */
function patch(before: () => void): () => void {
  const atomics = Atomics as unknown as Record<string, (...values: unknown[]) => unknown>;
  const originals = WRITES.map((name) => atomics[name]!);
  for (const [i, name] of WRITES.entries()) {
    atomics[name] = (...values) => {
      before();
      return originals[i]!(...values);
    };
  }
  return () => {
    for (const [i, name] of WRITES.entries()) atomics[name] = originals[i]!;
  };
}
