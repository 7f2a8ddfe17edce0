/**
 * Makes a directory tree of a newer Debian with the little that a DAX guest needs: a QEMU that has
 * shared-memory regions of vhost-user back ends (11.1 and later) and a kernel with virtio-fs, DAX built in.
 *
 *     deno run -A tests/guest/newer_root.ts DIR [SUITE]
 *
 * It needs root and the Debian package mmdebstrap. The mirror is the one of this machine's own apt sources.
 *
 * @module
 */
import { exists } from "./tools.ts";

/** base-files has the links of a merged /usr. */
const PACKAGES = ["base-files", "qemu-system-x86", "linux-image-cloud-amd64"];

/** A source of packages: where it is, and which suites are taken from there. */
interface AptSource {
  readonly uri: string;
  readonly suites: readonly string[];
}

/** `deb [options] URI SUITE COMPONENT...`, one line each. */
function parseOneLineList(text: string): AptSource[] {
  return [...text.matchAll(/^deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)/gm)]
    .map(([, uri, suite]) => ({ uri: uri!, suites: [suite!] }));
}

/** Paragraphs of `Name: value` lines (deb822). */
function parseParagraphs(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const paragraph of text.replace(/^#.*\n?/gm, "").split(/\n\s*\n/)) {
    const words = (name: string) =>
      paragraph.match(new RegExp(`^${name}:((?:.*\\n?)(?:[ \\t].*\\n?)*)`, "mi"))?.[1]?.trim()
        .split(/\s+/) ?? [];
    if (!words("Types").includes("deb") || words("Enabled")[0] === "no") continue;
    for (const uri of words("URIs")) sources.push({ uri, suites: words("Suites") });
  }
  return sources;
}

function aptSources(): AptSource[] {
  const sources: AptSource[] = [];
  const dir = "/etc/apt/sources.list.d";
  const files = exists(dir) ? [...Deno.readDirSync(dir)].map(({ name }) => `${dir}/${name}`) : [];
  for (const path of ["/etc/apt/sources.list", ...files.sort()]) {
    if (!exists(path)) continue;
    const text = Deno.readTextFileSync(path);
    if (path.endsWith(".sources")) sources.push(...parseParagraphs(text));
    else if (path.endsWith(".list")) sources.push(...parseOneLineList(text));
  }
  return sources;
}

/** The mirror of the distribution itself: other sources do not have a suite of the system's own name. */
function debianMirror(): string {
  const release = Deno.readTextFileSync("/etc/os-release");
  const codename = release.match(/^VERSION_CODENAME=(\w+)/m)?.[1];
  const names = [codename, "stable", "testing", "unstable", "sid"];
  const source = aptSources().find(({ suites }) => suites.some((suite) => names.includes(suite)));
  if (source === undefined) throw new Error("Cannot find a Debian mirror in the apt sources");
  return source.uri;
}

/** Makes the tree in a directory, which must be empty or not there. Takes about a minute. */
export async function makeNewerRoot(dir: string, suite: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("mmdebstrap", {
    args: [
      // Unpacked, not configured: programs run by chroot(8) need their libraries and nothing else.
      "--variant=extract",
      // Frozen mirrors are past their date.
      '--aptopt=Acquire::Check-Valid-Until "false"',
      "--dpkgopt=path-exclude=/usr/share/doc/*",
      "--dpkgopt=path-exclude=/usr/share/man/*",
      `--include=${PACKAGES.join(",")}`,
      suite,
      dir,
      debianMirror(),
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(`mmdebstrap failed:\n${new TextDecoder().decode(stderr)}`);
}

if (import.meta.main) {
  const [dir, suite = "sid"] = Deno.args;
  if (dir === undefined) {
    console.error("Usage: newer_root.ts DIR [SUITE]");
    Deno.exit(2);
  }
  await makeNewerRoot(dir, suite);
}
