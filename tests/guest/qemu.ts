/**
 * Boots a QEMU guest without KVM (TCG): several processors and so several request queues, which User Mode
 * Linux does not have. The kernel is a distribution's own; the initramfs is a static busybox and a script.
 *
 * @module
 */
import { cpioArchive, type CpioMember } from "./cpio.ts";
import { TAG } from "./daemon.ts";
import { TestProcess, waitUntil } from "./process.ts";
import {
  exists,
  findBusybox,
  firstExisting,
  guestRoot,
  hostPrefixIn,
  machineCommand,
} from "./tools.ts";

/** How to boot a QEMU guest. */
export interface QemuOptions {
  readonly workDir: string;
  /** The daemon's socket: character device `c0`. */
  readonly socketPath: string;
  /** The -device of it. */
  readonly device: string;
  /** Shell script (busybox) that the guest's init runs; `mounted()` makes one that works in the mounted tag. */
  readonly script: string;
  /** What else is in the guest's root file system. */
  readonly files?: readonly CpioMember[];
  /** A socket that listens for the guest's second serial port, if it shall have one. */
  readonly controlPath?: string;
  readonly processors: number;
  readonly memory?: string;
  readonly timeoutMs: number;
  /** Looked at while the guest runs: a text ends it. */
  readonly watch?: () => string | null;
}

/** How a boot went. */
export interface QemuResult {
  /** What the script printed, line by line, without the kernel log. */
  readonly lines: readonly string[];
  readonly console: string;
  /** Why the guest was ended, or what it did not do; null if all is well. */
  readonly problem: string | null;
}

/** The programs for a QEMU guest. */
export interface QemuTools {
  /** The tree that QEMU is run in by chroot(8), or "". */
  readonly root: string;
  readonly qemu: string;
  readonly kernel: string;
  readonly version: string;
}

function newestKernel(): string | null {
  const dir = `${guestRoot}/boot`;
  if (!exists(dir)) return null;
  const names = [...Deno.readDirSync(dir)].map((entry) => entry.name)
    .filter((name) => name.startsWith("vmlinuz-")).sort();
  // A cloud kernel has the drivers of virtual machines built in.
  const name = names.findLast((candidate) => candidate.includes("cloud")) ?? names.at(-1);
  return name === undefined ? null : `${dir}/${name}`;
}

/** Finds QEMU and a kernel; a text says what is missing. */
export function findQemuTools(): QemuTools | string {
  const qemu = Deno.env.get("VIRTIOFSD_TS_QEMU") ??
    firstExisting([`${guestRoot}/usr/bin/qemu-system-x86_64`]);
  if (qemu === null || !exists(qemu)) {
    return "qemu-system-x86_64 is not installed (Debian package qemu-system-x86)";
  }
  const kernel = Deno.env.get("VIRTIOFSD_TS_KERNEL") ?? newestKernel();
  if (kernel === null || !exists(kernel)) {
    return "no kernel image in /boot (Debian package linux-image-cloud-amd64)";
  }
  if (findBusybox() === null) return "busybox is not installed (Debian package busybox-static)";
  return { root: guestRoot, qemu, kernel, version: kernel.replace(/^.*vmlinuz-/, "") };
}

/** Modules that a kernel may have as files, in the order of their dependencies. */
const MODULES = [
  "drivers/virtio/virtio_ring",
  "drivers/virtio/virtio",
  "drivers/virtio/virtio_pci_legacy_dev",
  "drivers/virtio/virtio_pci_modern_dev",
  "drivers/virtio/virtio_pci",
  "fs/fuse/fuse",
  "fs/fuse/virtiofs",
];

/** The modules lie beside the kernel image's own boot directory, installed or merely unpacked. */
async function modules(tools: QemuTools): Promise<CpioMember[]> {
  const prefix = tools.kernel.replace(/\/boot\/[^/]*$/, "");
  const root = firstExisting(
    ["usr/lib/modules", "lib/modules"].map((dir) => `${prefix}/${dir}/${tools.version}`),
  );
  const members: CpioMember[] = [];
  for (const name of root === null ? [] : MODULES) {
    const plain = `${root}/kernel/${name}.ko`;
    const path = `modules/${members.length}-${name.replace(/^.*\//, "")}.ko`;
    if (exists(plain)) {
      members.push({ path, mode: 0o100644, content: Deno.readFileSync(plain) });
    } else if (exists(`${plain}.xz`)) {
      const { stdout } = await new Deno.Command("xz", { args: ["-dc", `${plain}.xz`] }).output();
      members.push({ path, mode: 0o100644, content: stdout });
    }
  }
  return members;
}

const MARK = "@@";

function initScript(script: string): string {
  return `#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
for module in /modules/*.ko; do [ -e "$module" ] && insmod "$module"; done
say() { echo "${MARK}$*"; }
# check NAME COMMAND...: one line of the report
check() { name="$1"; shift; if "$@" > /tmp/check.log 2>&1; then say "ok $name"; else say "FAIL $name: $(tr '\\n' ' ' < /tmp/check.log)"; fi; }
${script}
say done
poweroff -f
`;
}

/** A script that runs with the tag mounted on /mnt. */
export function mounted(script: string): string {
  return `
if mount -t virtiofs ${TAG} /mnt; then
${script}
cd /; umount /mnt || say "FAIL umount"
else say "FAIL mount"; fi`;
}

async function writeInitramfs(path: string, tools: QemuTools, options: QemuOptions): Promise<void> {
  const dirs = ["bin", "proc", "sys", "dev", "tmp", "mnt", "modules"];
  const members: CpioMember[] = [
    ...dirs.map((dir) => ({ path: dir, mode: 0o40755 })),
    { path: "dev/console", mode: 0o20600, device: [5, 1] },
    { path: "dev/null", mode: 0o20666, device: [1, 3] },
    { path: "bin/busybox", mode: 0o100755, content: Deno.readFileSync(findBusybox()!) },
    { path: "bin/sh", mode: 0o120777, content: new TextEncoder().encode("busybox") },
    { path: "init", mode: 0o100755, content: new TextEncoder().encode(initScript(options.script)) },
    ...await modules(tools),
    ...options.files ?? [],
  ];
  Deno.writeFileSync(path, cpioArchive(members));
}

/** Waits for the end; the reason when something else than the guest ended it. */
async function waitForEnd(process: TestProcess, options: QemuOptions): Promise<string | null> {
  let reason: string | null = null;
  const isOver = () => {
    reason ??= options.watch?.() ?? null;
    return process.status !== null || reason !== null;
  };
  if (!await waitUntil(isOver, options.timeoutMs, 100)) {
    return `the guest did not power off in ${options.timeoutMs / 1000} s`;
  }
  if (process.status === null) return reason;
  await process.waitForEnd(1000);
  return null;
}

/** Boots a guest, waits until it has powered off, and cleans up after it in any case. */
export async function bootQemu(tools: QemuTools, options: QemuOptions): Promise<QemuResult> {
  const initramfs = `${options.workDir}/initramfs`;
  await writeInitramfs(initramfs, tools, options);
  const memory = options.memory ?? "1G";
  const hostPrefix = hostPrefixIn(tools.root);
  const insideRoot = (path: string) =>
    tools.root !== "" && path.startsWith(`${tools.root}/`)
      ? path.slice(tools.root.length)
      : hostPrefix + path;
  const chardev = (id: string, path: string) => [
    "-chardev",
    `socket,id=${id},path=${hostPrefix}${path}`,
  ];
  const { controlPath } = options;
  const { command, args } = machineCommand(insideRoot(tools.qemu), [
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"],
    ...["-smp", `${options.processors}`, "-m", memory],
    ...["-object", `memory-backend-memfd,id=mem,size=${memory},share=on`],
    ...["-numa", "node,memdev=mem", "-display", "none", "-nodefaults", "-no-reboot"],
    ...["-serial", "stdio"],
    ...controlPath === undefined ? [] : [...chardev("c1", controlPath), "-serial", "chardev:c1"],
    ...["-kernel", insideRoot(tools.kernel), "-initrd", hostPrefix + initramfs],
    ...["-append", "console=ttyS0 panic=-1 loglevel=4"],
    ...[...chardev("c0", options.socketPath), "-device", options.device],
  ], tools.root);
  await using process = new TestProcess({ command, args });
  const reason = await waitForEnd(process, options);
  const lines = process.output.split("\n").filter((line) => line.includes(MARK))
    .map((line) => line.slice(line.indexOf(MARK) + MARK.length).trim());
  const { code, signal } = process.status ?? {};
  const problem = reason ??
    (lines.includes("done")
      ? null
      : `the guest did not power off (QEMU ended with ${signal ?? code ?? "nothing"})`);
  return { lines, console: process.output, problem };
}
