import assert from "node:assert/strict";
import { CAPABILITIES } from "../../src/cli/capabilities.ts";
import { Guest } from "../../src/guest/guest.ts";
import { IsolatedDaemon } from "../sandbox/isolated_daemon.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";

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

/** What would take the sandbox, or V8, from the daemon. */
const IN_THE_WAY =
  /^(RestrictNamespaces|MemoryDenyWriteExecute|SystemCallFilter|PrivateUsers|ProtectProc|AmbientCapabilities|User)=/m;

Deno.test({
  name: "packaging: the unit leaves the daemon what its sandbox takes",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    const unit = Deno.readTextFileSync(new URL("virtiofsd-ts@.service", PACKAGING));
    assert.doesNotMatch(unit, IN_THE_WAY);
    const names = /^CapabilityBoundingSet=(.*)$/m.exec(unit)![1]!.split(" ");
    const set = ["-all", ...names.map((name) => `+${name.replace("CAP_", "").toLowerCase()}`)];
    const limits = ["--bounding-set", set.join(), "--inh-caps", "-all", "--no-new-privs"];
    await using daemon = await IsolatedDaemon.start({ through: ["setpriv", ...limits] });
    await using guest = await Guest.connect({ socketPath: daemon.socketPath });
    guest.writeTextFileSync("/f", "content");
    guest.chownSync("/f", 7, 8);
    assert.equal(Deno.statSync(`${daemon.share}/f`).uid, 7);
    // No capability of those that are kept is missing, nor any for DAX or file handles.
    assert.doesNotMatch(daemon.stderr(), /Not permitted|cannot be/);
  },
});
