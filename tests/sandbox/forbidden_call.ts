/**
 * Installs the filter of a daemon in this process and makes a system call that is not in it: `forbidden_call.ts ACTION NAME main|worker`.
 *
 * @module
 */

import type { SeccompAction } from "../../src/isolation_config.ts";
import { installFilter } from "../../src/sandbox/filter.ts";
import { systemCallNumber } from "../../src/sys/architecture.ts";
import type { SystemCallName } from "../../src/wire/system_calls.ts";

const STDOUT = 1;
const PR_SET_NO_NEW_PRIVS = 38;

const libc = Deno.dlopen("libc.so.6", {
  syscall: { parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], result: "i64" },
}).symbols;

function call(number: number, ...args: number[]): bigint {
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = args;
  const big = [number, a, b, c, d, e, 0].map(BigInt) as [
    ...[bigint, bigint, bigint, bigint, bigint, bigint, bigint],
  ];
  return libc.syscall(...big);
}

if (!("WorkerGlobalScope" in globalThis)) {
  const [action, name, thread] = Deno.args as [SeccompAction, SystemCallName, string];
  // A thread from before the filter, which has to have it, too.
  const worker = thread === "worker"
    ? new Worker(import.meta.url, { type: "module", name: "caller" })
    : null;
  if (worker !== null) await new Promise((resolve) => worker.onmessage = resolve);
  call(systemCallNumber("prctl")!, PR_SET_NO_NEW_PRIVS, 1);
  installFilter(action, { usesFileHandles: false, reportFd: STDOUT });
  const number = systemCallNumber(name)!;
  if (worker === null) {
    console.error(`${name} returned ${call(number)}`);
  } else {
    worker.postMessage(number);
    await new Promise((resolve) => worker.onmessage = resolve);
    console.error(`${name} returned`);
  }
  Deno.exit(0);
} else {
  const scope = globalThis as unknown as Worker;
  scope.onmessage = ({ data }) => {
    call(data as number);
    scope.postMessage("done");
  };
  scope.postMessage("ready");
}
