/**
 * Looking into a daemon the way its users do: the program, and its JSON.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../cli/program.ts";

/** One view of `inspect --json`. */
// deno-lint-ignore no-explicit-any
export async function look(...args: string[]): Promise<any> {
  const { code, stdout, stderr } = await run(["inspect", ...args, "--json"]);
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trimEnd().split("\n").length, 1, "one line");
  const view = JSON.parse(stdout);
  assert.equal(view.schema, 1);
  return view;
}

/** What `inspect` says where there is nothing to be seen. */
export async function refusal(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(["inspect", ...args]);
  assert.equal(code, 1, stdout + stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /^error: /);
  return stderr;
}
