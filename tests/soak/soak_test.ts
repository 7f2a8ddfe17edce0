import { deepEqual, equal } from "node:assert/strict";

/** What the soak prints with --json, and its exit code. */
async function soak(...args: string[]) {
  const path = new URL("./soak.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", path, "--json", ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  equal(text.startsWith("{"), true, text + new TextDecoder().decode(stderr));
  return { code, report: JSON.parse(text) };
}

// As few sessions as make a verdict, with a tenth of the work: what can be seen so soon is a descriptor that stays.
Deno.test("soak: a few guests leave the daemon as it was", async () => {
  const { code, report } = await soak("--minutes", "0", "--scale", "0.1", "--seed", "1");
  deepEqual(report.faults, []);
  equal(code, 0);
  equal(report.sessions, 8);
  equal(report.quiet.length, 8);
  // Each way to end has been gone.
  deepEqual(Object.keys(report.ends).sort(), ["closed", "died", "hung up", "killed"]);
  equal(report.requests > 1000, true);
  const names = report.trends.map(({ name }: { name: string }) => name);
  deepEqual(names, ["started", "serving"]);
  for (const { own } of report.quiet.at(-1).processes) equal(own > 1024, true);
});

Deno.test("soak: one daemon that does not come back is a failure, with its replay", async () => {
  // It listens and hangs up on whoever comes, which is the end of it.
  const command =
    `"${Deno.execPath()}" eval 'const l = Deno.listen({transport: "unix", path: "{socket}"}); (await l.accept()).close()'`;
  const { code, report } = await soak(
    "--minutes",
    "0",
    "--scale",
    "0.1",
    "--seed",
    "5",
    "--command",
    command,
  );
  equal(code, 1);
  equal(report.ok, false);
  equal(/session 0: .*the guest ended with 1/.test(report.faults[0]), true, report.faults[0]);
  equal(report.faults[0].includes("again with: deno task soak --seed 5 --session 0"), true);
});
