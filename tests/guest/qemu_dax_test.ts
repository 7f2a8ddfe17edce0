/**
 * Guests with a DAX window: stock QEMU 11.1 (TCG) and a stock Debian kernel.
 *
 * Ignored, with the reason said, where these are missing; with `VIRTIOFSD_TS_REQUIRE_DAX=1` that is a failure.
 *
 * @module
 */
import assert from "node:assert/strict";
import { findDaxTools } from "./qemu_dax.ts";
import { runDaxSession } from "./qemu_dax_session.ts";
import { DAX_BOOTS } from "./qemu_dax_workload.ts";

const tools = await findDaxTools();
if (typeof tools === "string") console.log(`DAX guests: left out, because ${tools}`);

for (const boot of DAX_BOOTS) {
  Deno.test({
    name: `DAX guest: ${boot.name}`,
    ignore: typeof tools === "string" && Deno.env.get("VIRTIOFSD_TS_REQUIRE_DAX") !== "1",
    // The guest and the daemon are other processes.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async (t) => {
      if (typeof tools === "string") throw new Error(`DAX guests are required, but ${tools}`);
      const report = await runDaxSession(tools, boot);
      for (const fact of report.facts) console.log(fact);
      for (const line of report.checks) {
        await t.step(line.split(/ |:/)[1]!, () => assert.ok(line.startsWith("ok "), line));
      }
      const context = `\n${report.daemonOutput}\n${report.console}`;
      assert.ok(report.problems.length === 0, `${report.problems.join("\n")}${context}`);
      assert.ok(report.checks.length > 0, `no check was made${context}`);
      if (report.checks.some((line) => line.startsWith("FAIL"))) console.log(context);
    },
  });
}
