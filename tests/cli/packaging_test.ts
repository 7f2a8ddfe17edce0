import assert from "node:assert/strict";
import { CAPABILITIES } from "../../src/cli/capabilities.ts";

const PACKAGING = new URL("../../packaging/", import.meta.url);

Deno.test("packaging: the descriptor says what --print-capabilities says", () => {
  const text = Deno.readTextFileSync(new URL("40-virtiofsd-ts.json", PACKAGING));
  const descriptor = JSON.parse(text);
  assert.equal(descriptor.type, CAPABILITIES.type);
  assert.deepEqual(descriptor.features, CAPABILITIES.features);
  assert.equal(descriptor.binary, "/usr/libexec/virtiofsd-ts");
  assert.equal(typeof descriptor.description, "string");
});

Deno.test("packaging: the unit starts the binary that the descriptor names", () => {
  const unit = Deno.readTextFileSync(new URL("virtiofsd-ts@.service", PACKAGING));
  assert.match(unit, /^Type=exec$/m);
  assert.match(unit, /^ExecStart=\/usr\/libexec\/virtiofsd-ts /m);
  assert.match(unit, /^RuntimeDirectory=/m);
  assert.match(unit, /^LimitNOFILE=/m);
  assert.match(unit, /^Restart=/m);
});
