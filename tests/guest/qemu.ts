/**
 * Boots a QEMU guest without KVM (TCG): several processors and so several request queues, which User Mode
 * Linux does not have. The kernel is a distribution's own; the initramfs is a static busybox and a script.
 *
 * @module
 */
import { cpioArchive, type CpioMember } from "./cpio.ts";
import { TAG } from "./daemon.ts";
import { TestProcess } from "./process.ts";
import {
  exists,
  findBusybox,
  firstExisting,
  guestRoot,
  hostPrefix,
  machineCommand,
} from "./tools.ts";

/** How to boot a QEMU guest. */
export interface QemuOptions {
  readonly workDir: string;
  readonly socketPath: string;
  /** Shell script (busybox) that runs when the tag is mounted on /mnt. */
  readonly script: string;
  readonly processors: number;
  readonly requestQueues: number;
  readonly memory?: string;
  readonly timeoutMs: number;
}

/** How a boot went. */
export interface QemuResult {
  /** What the script printed, line by line, without the kernel log. */
  readonly lines: readonly string[];
  readonly console: string;
  readonly isHalted: boolean;
}

/** The programs for a QEMU guest. */
export interface QemuTools {
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
  return { qemu, kernel, version: kernel.replace(/^.*vmlinuz-/, "") };
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
if mount -t virtiofs ${TAG} /mnt; then
${script}
cd /; umount /mnt || say "FAIL umount"
else say "FAIL mount"; fi
say done
poweroff -f
`;
}

async function writeInitramfs(path: string, script: string, tools: QemuTools): Promise<void> {
  const dirs = ["bin", "proc", "sys", "dev", "tmp", "mnt", "modules"];
  const members: CpioMember[] = [
    ...dirs.map((dir) => ({ path: dir, mode: 0o40755 })),
    { path: "dev/console", mode: 0o20600, device: [5, 1] },
    { path: "dev/null", mode: 0o20666, device: [1, 3] },
    { path: "bin/busybox", mode: 0o100755, content: Deno.readFileSync(findBusybox()!) },
    { path: "bin/sh", mode: 0o120777, content: new TextEncoder().encode("busybox") },
    { path: "init", mode: 0o100755, content: new TextEncoder().encode(initScript(script)) },
    ...await modules(tools),
  ];
  Deno.writeFileSync(path, cpioArchive(members));
}

/** Boots a guest, waits until it has powered off, and cleans up after it in any case. */
export async function bootQemu(tools: QemuTools, options: QemuOptions): Promise<QemuResult> {
  const initramfs = `${options.workDir}/initramfs`;
  await writeInitramfs(initramfs, options.script, tools);
  const memory = options.memory ?? "1G";
  const insideRoot = (path: string) =>
    guestRoot !== "" && path.startsWith(`${guestRoot}/`)
      ? path.slice(guestRoot.length)
      : hostPrefix + path;
  const device =
    `vhost-user-fs-pci,chardev=c0,tag=${TAG},num-request-queues=${options.requestQueues}`;
  const { command, args } = machineCommand(insideRoot(tools.qemu), [
    ...[
      "-machine",
      "q35",
      "-accel",
      "tcg,thread=multi",
      "-cpu",
      "max",
      "-smp",
      `${options.processors}`,
    ],
    ...["-m", memory, "-object", `memory-backend-memfd,id=mem,size=${memory},share=on`],
    ...["-numa", "node,memdev=mem", "-display", "none", "-nodefaults", "-no-reboot"],
    ...["-serial", "stdio", "-kernel", insideRoot(tools.kernel)],
    ...["-initrd", hostPrefix + initramfs, "-append", "console=ttyS0 panic=-1 loglevel=4"],
    ...["-chardev", `socket,id=c0,path=${hostPrefix}${options.socketPath}`, "-device", device],
  ]);
  await using process = new TestProcess({ command, args });
  const status = await process.waitForEnd(options.timeoutMs);
  const lines = process.output.split("\n").filter((line) => line.includes(MARK))
    .map((line) => line.slice(line.indexOf(MARK) + MARK.length).trim());
  return { lines, console: process.output, isHalted: status !== null && lines.includes("done") };
}
