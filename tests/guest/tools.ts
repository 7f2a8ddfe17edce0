/**
 * Finds the programs that real guests need: kernels, emulators, a static busybox. Nothing is installed
 * here; what is missing is said in one sentence.
 *
 * - `VIRTIOFSD_TS_GUEST_ROOT`: a directory tree (a newer distribution, say) that holds `usr/bin/linux.uml`, its
 *   modules, QEMU and a kernel; they are then run inside it with chroot(8).
 * - `VIRTIOFSD_TS_QEMU`, `VIRTIOFSD_TS_KERNEL`: QEMU and the kernel image for it, named one by one.
 * - `VIRTIOFSD_TS_DAX_ROOT`: such a tree for the DAX suite alone, which needs QEMU 11.1.
 * - `VIRTIOFSD_TS_REQUIRE_GUEST=1`: what is missing is a failure, not a reason to leave tests out.
 *
 * @module
 */

/** The chroot that holds the guest tools, or "" for this system itself. */
export const guestRoot = (Deno.env.get("VIRTIOFSD_TS_GUEST_ROOT") ?? "").replace(/\/+$/, "");

/** True if a guest suite that cannot run has to fail. */
export const isGuestRequired = Deno.env.get("VIRTIOFSD_TS_REQUIRE_GUEST") === "1";

/** True if a path exists. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The first of some paths that exists, or null. */
export function firstExisting(paths: readonly string[]): string | null {
  return paths.find(exists) ?? null;
}

/** A static busybox for the guest's init. */
export function findBusybox(): string | null {
  return firstExisting(["/bin/busybox", "/usr/bin/busybox", `${guestRoot}/usr/bin/busybox`]);
}

/** Why no User Mode Linux guest can run here, or null if one can. */
export function umlObstacle(): string | null {
  if (Deno.build.arch !== "x86_64" || Deno.build.os !== "linux") {
    return "User Mode Linux exists for x86-64 Linux only";
  }
  if (Deno.uid() !== 0) return "the guest suite needs root (files of several users)";
  if (!exists(`${guestRoot}/usr/bin/linux.uml`)) {
    return "linux.uml is not installed (Debian package user-mode-linux)";
  }
  if (findBusybox() === null) return "busybox is not installed (Debian package busybox-static)";
  return null;
}

/** A command line in two parts. */
export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
}

/**
 * The command that runs a program from a root, `guestRoot` unless another is named. In a chroot the host's whole
 * file system is to be seen under `hostPrefixIn(root)`; the mount for that is made in a private mount namespace
 * and goes with the process.
 */
export function rootedCommand(
  program: string,
  args: readonly string[],
  root = guestRoot,
): CommandLine {
  if (root === "") return { command: program, args };
  const script =
    'mkdir -p "$0/host" && mount --rbind / "$0/host" && mount -t proc proc "$0/proc" && ' +
    'exec chroot "$0" "$@"';
  return {
    command: "unshare",
    args: ["--mount", "sh", "-c", script, root, program, ...args],
  };
}

const PROCESS_NAMESPACE = ["--pid", "--fork", "--kill-child", "--mount-proc"];

/** Containers often forbid namespaces, and a chroot may be no mount point. */
function canUnshareProcesses(): boolean {
  const { success } = new Deno.Command("unshare", {
    args: [...PROCESS_NAMESPACE, "true"],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  return success;
}

let hasProcessNamespaces: boolean | null = null;

/**
 * The command that runs a whole virtual machine: in a process namespace of its own where that can be had, so
 * that even a killed test leaves none of the machine's helper processes behind. (A test that is not killed
 * ends the whole process group in any case.)
 */
export function machineCommand(
  program: string,
  args: readonly string[],
  root = guestRoot,
): CommandLine {
  const rooted = rootedCommand(program, args, root);
  hasProcessNamespaces ??= canUnshareProcesses();
  if (!hasProcessNamespaces) return rooted;
  return { command: "unshare", args: [...PROCESS_NAMESPACE, rooted.command, ...rooted.args] };
}

/** Where the host's root is seen by a program that `rootedCommand()` starts in a root. */
export function hostPrefixIn(root: string): string {
  return root === "" ? "" : "/host";
}

/** The same for `guestRoot`. */
export const hostPrefix = hostPrefixIn(guestRoot);
