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

let saidViews = false;

/** Whether to leave a test out because padded views (DAX) cannot be had: they take root, /dev/fuse and Linux 6.9. Says so once. */
export function ignoreWithoutViews(): boolean {
  const [major = 0, minor = 0] = Deno.osRelease().split(".").map(Number);
  const possible = isRoot && (major > 6 || (major === 6 && minor >= 9)) && hasFuse();
  const ignore = !possible && !isRequired;
  if (ignore && !saidViews) {
    saidViews = true;
    console.log("tests of DAX are left out: they need root, /dev/fuse and Linux 6.9");
  }
  return ignore;
}

function hasFuse(): boolean {
  try {
    return Deno.statSync("/dev/fuse").isCharDevice === true;
  } catch {
    return false;
  }
}
