/**
 * The POSIX suite on a plain directory of the host: what the mount's results are compared with.
 *
 * @module
 */
import type { PosixOutcome } from "./session.ts";

/** Runs the suite in a fresh directory beside the shared ones, on the same file system. */
export async function runPosixOnHost(script: string): Promise<PosixOutcome[]> {
  const dir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-posix-" });
  Deno.chmodSync(dir, 0o755);
  try {
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "--no-lock", "--no-remote", script, dir, "--json"],
      stdout: "piped",
      stderr: "piped",
    }).output();
    const lines = new TextDecoder().decode(stdout).split("\n").filter((line) =>
      line.startsWith("{")
    );
    if (lines.length === 0) throw new Error(new TextDecoder().decode(stderr));
    return lines.map((line): PosixOutcome => JSON.parse(line))
      .filter((outcome) => typeof outcome.name === "string");
  } finally {
    await new Deno.Command("rm", { args: ["-rf", dir] }).output();
  }
}
