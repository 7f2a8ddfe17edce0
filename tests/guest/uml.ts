/**
 * Boots a User Mode Linux guest: a real Linux kernel as a process. The host's whole root, read-only, is its
 * root (hostfs), so that the guest runs this very Deno, from this very checkout, wherever it lies.
 *
 * @module
 */
import { TestProcess, waitUntil } from "./process.ts";
import { statvfs } from "./workloads/libc.ts";
import { findBusybox, guestRoot, hostPrefix, machineCommand } from "./tools.ts";

/** How to boot a guest. */
export interface UmlOptions {
  /** A private host directory for this boot: init script and the kernel's memory file. */
  readonly workDir: string;
  /** vhost-user sockets of file-system devices. */
  readonly sockets: readonly string[];
  /** Kernel memory. */
  readonly memoryMiB?: number;
  /** Mount commands and work, as a shell script; `$GUEST` is an empty tmpfs, tools are on PATH. */
  readonly script: string;
  readonly timeoutMs: number;
  /** Called while the guest runs; a non-null answer ends the guest at once. */
  readonly watch?: () => string | null;
}

/** How a boot went. */
export interface UmlResult {
  /** The guest powered itself off. */
  readonly isHalted: boolean;
  /** Console: kernel log and whatever the script printed. */
  readonly console: string;
  /** Why the guest was ended from outside, if it was. */
  readonly problem: string | null;
}

/**
 * A directory of the host root that exists everywhere and hides nothing the guest needs when a tmpfs is
 * mounted over it (the checkout, Deno or the work directory may lie under any of them).
 */
function mountBase(needed: readonly string[]): string {
  const candidates = ["/mnt", "/media", "/srv", "/opt", "/home", "/var/lib/misc", "/boot"];
  for (const base of candidates) {
    try {
      if (!Deno.statSync(base).isDirectory) continue;
    } catch {
      continue;
    }
    if (!needed.some((path) => path === base || path.startsWith(base + "/"))) return base;
  }
  throw new Error("Cannot find a directory for the guest's mounts");
}

function initScript(options: UmlOptions, base: string): string {
  const modules = `${guestRoot}/usr/lib/uml/modules/$(uname -r)/kernel/fs/fuse`;
  return `#!/bin/sh
# Written by tests/guest/uml.ts: the guest's init.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export GUEST=${base} HOME=${base}/home TMPDIR=${base}/tmp
b="${findBusybox()}"
"$b" mount -t proc proc /proc
"$b" mount -t sysfs sysfs /sys
"$b" mount -t tmpfs -o mode=755,size=75% guest ${base}
"$b" mkdir -p ${base}/home ${base}/tmp
"$b" chmod 1777 ${base}/tmp
for module in fuse virtiofs; do
  for file in "${modules}/$module.ko"*; do
    case "$file" in *.xz) "$b" xz -dc "$file" > ${base}/tmp/$module.ko; file=${base}/tmp/$module.ko;; esac
    "$b" insmod "$file" || echo "init: cannot load $module"
  done
done
cd /
${options.script}
"$b" poweroff -f
`;
}

/**
 * Where the guest's memory file goes: /dev/shm if it has the room and is not mounted noexec (containers often
 * have 64 MiB, and noexec), otherwise the work directory.
 */
function memoryDirectory(memoryMiB: number, workDir: string): string {
  const mount = Deno.readTextFileSync("/proc/self/mountinfo").split("\n")
    .findLast((line) => line.split(" ")[4] === "/dev/shm");
  if (mount === undefined || / noexec|,noexec/.test(mount)) return workDir;
  const { fragmentSize, blocksAvailable } = statvfs("/dev/shm");
  return fragmentSize * blocksAvailable > memoryMiB * 1024 * 1024 ? "/dev/shm" : workDir;
}

/** Boots a guest, waits until it has powered off, and cleans up after it in any case. */
export async function bootUml(options: UmlOptions): Promise<UmlResult> {
  const needed = [import.meta.dirname!, Deno.execPath(), options.workDir, guestRoot];
  const base = mountBase(needed);
  const initPath = `${options.workDir}/init.sh`;
  Deno.writeTextFileSync(initPath, initScript(options, base));
  Deno.chmodSync(initPath, 0o755);
  const memoryMiB = options.memoryMiB ?? 1500;
  const kernelArgs = [
    `mem=${memoryMiB}M`,
    "root=/dev/root",
    "rootfstype=hostfs",
    `rootflags=${hostPrefix}/`,
    "ro",
    `init=${initPath}`,
    "con=null",
    "con0=fd:0,fd:1",
    "panic=-1",
    // The kernel would put its own /dev over the host's, and over a checkout in /dev/shm.
    ...(needed.some((path) => path.startsWith("/dev/")) ? ["devtmpfs.mount=0"] : []),
    `umid=vfs${Deno.pid}x${bootNumber++}`,
    `uml_dir=${hostPrefix}${options.workDir}`,
    ...options.sockets.map((path) => `virtio_uml.device=${hostPrefix}${path}:26`),
  ];
  const { command, args } = machineCommand("/usr/bin/linux.uml", kernelArgs);
  await using process = new TestProcess({
    command,
    args,
    env: { TMPDIR: hostPrefix + memoryDirectory(memoryMiB, options.workDir) },
  });
  let problem: string | null = null;
  const isOver = () => {
    problem = options.watch?.() ?? null;
    return process.status !== null || problem !== null;
  };
  if (!await waitUntil(isOver, options.timeoutMs, 50)) {
    problem = `the guest was not done after ${options.timeoutMs / 1000} s`;
  }
  const console = process.output;
  return { isHalted: /reboot: (System halted|Power down)/.test(console), console, problem };
}

let bootNumber = 1;
