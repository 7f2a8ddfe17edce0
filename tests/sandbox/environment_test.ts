import { deepEqual, equal } from "node:assert/strict";
import { serverEnvironment } from "../../src/sandbox/environment.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { IsolatedDaemon } from "./isolated_daemon.ts";

Deno.test("sandbox: the server's environment is where its program is, and nothing of the launcher's", () => {
  deepEqual(serverEnvironment({ HOME: "/h", TOKEN: "t", NODE_EXTRA_CA_CERTS: "/c", TZ: "" }), {
    HOME: "/h",
    TZ: "",
    DENO_NO_UPDATE_CHECK: "1",
  });
});

Deno.test({
  name: "sandbox: what the launcher's environment says does not get into the server",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    // The runtime would look for the certificates in the share, later.
    const through = ["env", "LAUNCHERS_TOKEN=secret", "NODE_EXTRA_CA_CERTS=/etc/certificates"];
    await using daemon = await IsolatedDaemon.start({ through });
    const environment = Deno.readTextFileSync(`/proc/${daemon.serverPid}/environ`).split("\0");
    const names = environment.map((line) => line.split("=")[0]!);
    equal(names.includes("LAUNCHERS_TOKEN") || names.includes("NODE_EXTRA_CA_CERTS"), false);
    equal(names.includes("DENO_NO_UPDATE_CHECK"), true);
  },
});
