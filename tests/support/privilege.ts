/**
 * Tests that act as several users, make device nodes or mount: what only root may do.
 *
 * @module
 */

const isRoot = Deno.uid() === 0;

/** Where guest suites must not be left out (`.ci/run`), neither must these. */
const isRequired = Deno.env.get("VIRTIOFSD_TS_REQUIRE_GUEST") === "1";

let said = false;

/** Whether to leave a test out because this is not root; says so once. */
export function ignoreWithoutRoot(): boolean {
  const ignore = !isRoot && !isRequired;
  if (ignore && !said) {
    said = true;
    console.log("tests that need root are left out: this is an ordinary user");
  }
  return ignore;
}
