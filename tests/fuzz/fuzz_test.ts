import { equal } from "node:assert/strict";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { runTool } from "./run_tool.ts";

// In a process of their own: the thread that is fuzzed becomes a queue's thread, and may end in a signal.

Deno.test("fuzzer: requests and chains, 12 seconds", async () => {
  const { success, output } = await runTool("fuzz.ts", ["--seconds", "12"]);
  equal(success, true, output);
});

Deno.test("fuzzer: an input can be run again", async () => {
  const input = { mode: "auto", seed: 7, forks: [{ at: 100, seed: 8 }], length: 400 };
  const replay = ["--replay", JSON.stringify(input), "--seed", "1"];
  const reached = async () => {
    const { success, output } = await runTool("fuzz.ts", replay);
    equal(success, true, output);
    return output.split("\n").filter((line) => line.includes("successes by opcode"));
  };
  equal((await reached()).join("\n"), (await reached()).join("\n"));
});

Deno.test("fuzzer: vhost-user messages in any order, 5 seconds", async () => {
  const { success, output } = await runTool("vhost_user.ts", ["5"]);
  equal(success, true, output);
});

Deno.test({
  name: "fuzzer: 5000 requests to daemons of every mode, under the filter",
  ignore: ignoreWithoutRoot(),
  async fn() {
    const { success, output } = await runTool("fuzz.ts", ["--daemon", "5000"]);
    equal(success, true, output);
  },
});
