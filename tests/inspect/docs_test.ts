import { deepEqual, match } from "node:assert/strict";
import { SCHEMA_VERSION } from "../../src/inspect/snapshot.ts";

const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));

Deno.test("docs/inspect.md has every field of the JSON objects", () => {
  const documented = new Set(
    Array.from(read("docs/inspect.md").matchAll(/`(\w+)`/g), ([, name]) => name),
  );
  const fields = Array.from(
    read("src/inspect/snapshot.ts").matchAll(/readonly (\w+)\??:/g),
    ([, name]) => name,
  );
  deepEqual([...new Set(fields)].filter((name) => !documented.has(name)), []);
  match(
    read("docs/inspect.md"),
    new RegExp(`as\\s+long\\s+as\\s+\`schema\` is ${SCHEMA_VERSION}\\.`),
  );
});
