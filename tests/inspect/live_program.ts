/**
 * A screen that counts its drawings; the argument says after how many it fails.
 *
 * @module
 */

import { watchLive } from "../../src/cli/live_screen.ts";

const last = Number(Deno.args[0] ?? Infinity);
let count = 0;
await watchLive({
  intervalSeconds: 0.1,
  draw: ({ columns, rows }) => {
    count++;
    if (count > last) throw new Error("Cannot draw");
    const long = count % 2 === 0 ? "x".repeat(500) : "short";
    return [
      `drawing ${count} on ${columns} x ${rows}`,
      long,
      ...Array.from({ length: 20 }, (_, i) => `\x1b[38;5;${i}mline ${i}\x1b[0m`),
    ];
  },
});
Deno.exit(0);
