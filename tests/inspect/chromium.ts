/**
 * A page in headless Chromium: its text after layout, what it wrote to the console, and a picture.
 *
 * @module
 */

import { findProgram } from "./programs.ts";

const DEADLINE_MS = 60_000;

/** Where the browser is, or null. */
export const CHROMIUM: string | null = findProgram("chromium");

/** What the browser made of a page. */
export interface Viewed {
  /** The document as HTML. */
  readonly dom: string;
  readonly console: readonly string[];
  readonly screenshot: Uint8Array;
}

/** Opens a local page. */
export async function view(path: string, directory: string): Promise<Viewed> {
  const picture = `${directory}/page.png`;
  const { stdout } = await chromium(directory, ["--dump-dom", `file://${path}`]);
  const shot = [`--screenshot=${picture}`, "--window-size=1200,1600", `file://${path}`];
  const { stderr } = await chromium(directory, shot);
  return {
    dom: stdout,
    console: stderr.split("\n").filter((line) => line.includes(":CONSOLE:")),
    screenshot: Deno.readFileSync(picture),
  };
}

async function chromium(
  directory: string,
  args: readonly string[],
): Promise<{ stdout: string; stderr: string }> {
  const output = await new Deno.Command(CHROMIUM!, {
    args: [
      // Its sandbox refuses root.
      ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
      ...[`--user-data-dir=${directory}/profile`, "--enable-logging=stderr", ...args],
    ],
    stdin: "null",
    signal: AbortSignal.timeout(DEADLINE_MS),
  }).output();
  const text = new TextDecoder();
  const [stdout, stderr] = [text.decode(output.stdout), text.decode(output.stderr)];
  if (!output.success) throw new Error(`chromium ended with ${output.code}:\n${stderr}`);
  return { stdout, stderr };
}
