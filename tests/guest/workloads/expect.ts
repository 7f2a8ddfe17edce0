/**
 * Short ways to say what a system call must have returned.
 *
 * @module
 */
import { ERRNO } from "./libc.ts";

/** The name of an errno that the workloads know, or its number. */
export function errnoName(errno: number): string {
  const found = Object.entries(ERRNO).find(([, value]) => value === errno);
  return found === undefined ? `errno ${errno}` : found[0];
}

/** Passes a successful result on; throws for a negative errno. */
export function must<T>(result: T | number, what: string): T extends number ? number : T {
  if (typeof result === "number" && result < 0) throw new Error(`${what}: ${errnoName(-result)}`);
  return result as T extends number ? number : T;
}

/** Throws unless the result is one of the errors named. */
export function mustFail(
  result: unknown,
  expected: keyof typeof ERRNO | readonly (keyof typeof ERRNO)[],
  what: string,
): void {
  const names = typeof expected === "string" ? [expected] : expected;
  const got = typeof result === "number" && result < 0 ? errnoName(-result) : "success";
  if (!(names as readonly string[]).includes(got)) {
    throw new Error(`${what}: ${got}, expected ${names.join(" or ")}`);
  }
}

/** Waits until a condition holds; throws when the deadline comes first. */
export async function eventually(
  what: string,
  timeoutMs: number,
  condition: () => boolean,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what}: not after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
