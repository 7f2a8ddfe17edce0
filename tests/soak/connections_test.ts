import { equal } from "node:assert/strict";

/** An object or two each would be more; the engine's own books are less. */
const BYTES_MAX = 200;

Deno.test("soak: a front end that has left leaves nothing on the daemon's heap", async () => {
  const path = new URL("./connections.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--v8-flags=--expose-gc", path],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  equal(success, true, text + new TextDecoder().decode(stderr));
  const bytes = parseFloat(text);
  equal(bytes < BYTES_MAX, true, `${bytes} bytes for each front end`);
});
