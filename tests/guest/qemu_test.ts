/**
 * A QEMU guest with four processors on four request queues (User Mode Linux has one processor).
 *
 * Ignored, with the reason said, where QEMU or a kernel is missing; with `VIRTIOFSD_TS_REQUIRE_QEMU=1` that is
 * a failure.
 *
 * @module
 */
import assert from "node:assert/strict";
import { findQemuTools } from "./qemu.ts";
import { runQemuSession } from "./qemu_session.ts";

const tools = findQemuTools();
const obstacle = Deno.uid() !== 0 ? "it needs root" : typeof tools === "string" ? tools : null;
if (obstacle !== null) console.log(`QEMU guest: left out, because ${obstacle}`);

Deno.test({
  name: "QEMU guest: four processors on four request queues",
  ignore: obstacle !== null && Deno.env.get("VIRTIOFSD_TS_REQUIRE_QEMU") !== "1",
  // The guest and the daemon are other processes.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async (t) => {
    if (obstacle !== null || typeof tools === "string") {
      throw new Error(`The QEMU guest is required, but ${obstacle}`);
    }
    const report = await runQemuSession(tools, []);
    for (const line of report.lines.filter((candidate) => /^(ok|FAIL) /.test(candidate))) {
      await t.step(line.split(" ")[1]!, () => assert.ok(line.startsWith("ok "), line));
    }
    const context = () => `\n${report.daemonOutput}\n${report.console}`;
    assert.ok(report.problems.length === 0, `${report.problems.join("\n")}${context()}`);
    assert.ok(report.lines.includes("info queue interrupts: 4"), `four queues${context()}`);
  },
});
