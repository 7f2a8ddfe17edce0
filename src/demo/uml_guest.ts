/**
 * The demo's real guest: User Mode Linux, a Linux kernel that runs as an ordinary process. Its root is
 * the host's, read-only; the served directory is mounted over a directory of the demo's own.
 *
 * @module
 */

import { TextLineStream } from "./text_lines.ts";
import type { GuestTask } from "./sample.ts";

/** What to install where {@linkcode findUml} finds nothing. */
export const UML_PACKAGES = "user-mode-linux busybox-static";

/** The marker of lines that the guest's script writes; everything else is the kernel's log. */
const MARK = "@demo ";
/** The last line of the script, if all its steps worked. */
const DONE = "done";
const DEADLINE_MS = 90_000;
/** virtio 1.3, 5.11: the device id of a file system, in UML's way to name a vhost-user device. */
const DEVICE_ID_FS = 26;

/** The programs of a UML guest on this host. */
export interface UmlPrograms {
  /** The kernel. */
  readonly kernel: string;
  /** busybox, for insmod and poweroff. */
  readonly busybox: string;
}

/** Finds what a UML guest takes, or null. */
export function findUml(): UmlPrograms | null {
  const kernel = onPath("linux.uml");
  const busybox = onPath("busybox");
  return kernel === null || busybox === null ? null : { kernel, busybox };
}

/**
 * Boots a guest on the daemon at `socketPath`, has it do `task` and tells `report` what it says. Returns
 * whether the guest's script came to its end. `directory` is for the guest's script and mount point.
 */
export async function runUmlGuest(
  programs: UmlPrograms,
  directory: string,
  socketPath: string,
  tag: string,
  task: GuestTask,
  report: (line: string) => void,
): Promise<boolean> {
  const mountPoint = `${directory}/mnt`;
  const init = `${directory}/guest_init.sh`;
  Deno.mkdirSync(mountPoint);
  Deno.writeTextFileSync(init, guestScript(programs.busybox, mountPoint, tag, task), {
    mode: 0o755,
  });
  const child = new Deno.Command(programs.kernel, {
    args: [
      "mem=256M",
      "root=/dev/root",
      "rootfstype=hostfs",
      "rootflags=/",
      "ro",
      `init=${init}`,
      `virtio_uml.device=${socketPath}:${DEVICE_ID_FS}`,
      "con=null",
      "con0=fd:0,fd:1",
    ],
    env: { HOME: directory },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => kill(child), DEADLINE_MS);
  const log: string[] = [];
  let done = false;
  const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    const text = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of text) {
      const at = line.indexOf(MARK);
      if (at < 0) {
        log.push(line);
      } else if (line.slice(at + MARK.length) === DONE) {
        done = true;
      } else {
        report(line.slice(at + MARK.length));
      }
    }
  };
  await Promise.all([read(child.stdout), read(child.stderr), child.status]);
  clearTimeout(timer);
  if (!done) {
    report("the guest did not come to the end of its script; the last lines of its console:");
    for (const line of log.slice(-15)) report(line);
  }
  return done;
}

function guestScript(busybox: string, mountPoint: string, tag: string, task: GuestTask): string {
  const share = quoted(mountPoint);
  const read = quoted(`${mountPoint}/${task.readName}`);
  const write = quoted(`${mountPoint}/${task.writeName}`);
  return `#!${busybox} sh
say() { echo "${MARK}$*"; }
end() { ${busybox} poweroff -f; }
${busybox} mount -t proc proc /proc
release=$(${busybox} uname -r)
say "Linux $release is up"
for module in fuse virtiofs; do
  ${busybox} insmod /usr/lib/uml/modules/$release/kernel/fs/fuse/$module.ko
done
${busybox} mount -t virtiofs ${quoted(tag)} ${share} || { say "the mount failed"; end; }
say "mounted: $(${busybox} grep virtiofs /proc/mounts)"
say "cat ${task.readName}: $(${busybox} cat ${read})" || end
echo ${quoted(task.writeText.trimEnd())} > ${write} || { say "writing failed"; end; }
say "wrote ${task.writeName}"
say "ls:" $(${busybox} ls ${share})
${busybox} umount ${share} && say ${DONE}
end
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function onPath(name: string): string | null {
  for (const directory of (Deno.env.get("PATH") ?? "").split(":")) {
    if (directory === "") continue;
    try {
      if (Deno.statSync(`${directory}/${name}`).isFile) return `${directory}/${name}`;
    } catch {
      // Not there.
    }
  }
  return null;
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended already.
  }
}
