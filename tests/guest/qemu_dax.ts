/**
 * What a DAX guest needs beside a daemon: QEMU 11.1 or later, whose generic vhost-user device has the
 * shared-memory regions of its back end; a kernel with virtio-fs and DAX; the suite's program for the guest;
 * and a compiler that runs from the shared directory.
 *
 * `VIRTIOFSD_TS_DAX_ROOT` names a tree that `newer_root.ts` has made; without it they must be installed.
 *
 * @module
 */
import type { QemuTools } from "./qemu.ts";
import { exists, findBusybox, firstExisting, rootedCommand } from "./tools.ts";

/** The first QEMU that maps files for a back end. */
const QEMU_MAJOR_MIN = 11;
const QEMU_MINOR_MIN = 1;

/** Newer kernels have their image among the modules; installing copies it to /boot. */
function newestKernel(root: string): { kernel: string; version: string } | null {
  const dir = `${root}/usr/lib/modules`;
  if (!exists(dir)) return null;
  for (const version of [...Deno.readDirSync(dir)].map(({ name }) => name).sort().reverse()) {
    const kernel = firstExisting([`${dir}/${version}/vmlinuz`, `${root}/boot/vmlinuz-${version}`]);
    const builtin = `${dir}/${version}/modules.builtin`;
    if (kernel === null || !exists(builtin)) continue;
    if (Deno.readTextFileSync(builtin).includes("/virtiofs.ko")) return { kernel, version };
  }
  return null;
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > QEMU_MAJOR_MIN || (major === QEMU_MAJOR_MIN && minor >= QEMU_MINOR_MIN);
}

/** Finds QEMU and a kernel; a text says what is missing. */
export async function findDaxTools(): Promise<QemuTools | string> {
  const root = (Deno.env.get("VIRTIOFSD_TS_DAX_ROOT") ?? "").replace(/\/+$/, "");
  const place = root === "" ? "on this system" : `in "${root}"`;
  const hint = "tests/guest/newer_root.ts makes a tree for VIRTIOFSD_TS_DAX_ROOT";
  if (Deno.build.arch !== "x86_64" || Deno.build.os !== "linux") return "it is for x86-64 Linux";
  if (Deno.uid() !== 0) return "it needs root";
  const qemu = `${root}/usr/bin/qemu-system-x86_64`;
  if (!exists(qemu)) return `there is no QEMU ${place} (${hint})`;
  const { command, args } = rootedCommand("/usr/bin/qemu-system-x86_64", ["--version"], root);
  const { stdout } = await new Deno.Command(command, { args: [...args] }).output();
  const version = new TextDecoder().decode(stdout).match(/version (\d+\.\d+[.\d]*)/)?.[1] ?? "?";
  if (!isNewEnough(version)) {
    return `QEMU ${version} ${place} is older than ${QEMU_MAJOR_MIN}.${QEMU_MINOR_MIN} (${hint})`;
  }
  const found = newestKernel(root);
  if (found === null) return `there is no kernel with virtio-fs built in ${place} (${hint})`;
  if (findBusybox() === null) return "busybox is not installed (Debian package busybox-static)";
  if (!exists("/usr/bin/gcc")) return "gcc is not installed";
  return { root, qemu, ...found };
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${text(stderr)}`);
  return text(stdout);
}

/** Builds the guest's program, which has no libraries to find there. */
export async function buildProbe(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const source = `${import.meta.dirname}/qemu_dax_probe.c`;
  await run("gcc", ["-O2", "-Wall", "-static", "-o", path, source]);
  return Deno.readFileSync(path);
}

/** Copies this system's C compiler, and what it needs, into a directory that is to be its root. */
export async function copyCompiler(dir: string): Promise<void> {
  const library = (await run("gcc", ["-print-libgcc-file-name"])).replace(/\/[^/]*$/, "");
  const multiarch = await run("gcc", ["-print-multiarch"]);
  const system = `/usr/lib/${multiarch}`;
  const programs = [
    ...["/usr/bin/gcc", "/usr/bin/as", "/usr/bin/ld"],
    ...["cc1", "collect2"].map((name) => `${library}/${name}`),
  ];
  const libraries = new Set<string>();
  for (const program of programs) {
    const text = await run("ldd", [program]);
    for (const [path] of text.matchAll(/\/\S+/g)) libraries.add(path);
  }
  const parts = ["include", "crtbegin.o", "crtend.o", "crtbeginS.o", "crtendS.o", "libgcc.a"];
  const wanted = [
    ...programs,
    ...libraries,
    ...parts.map((name) => `${library}/${name}`),
    ...["liblto_plugin.so", "libgcc_s.so"].map((name) => `${library}/${name}`).filter(exists),
    ...["crt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.so", "libc_nonshared.a"]
      .map((name) => `${system}/${name}`),
    `${system}/libgcc_s.so.1`,
    ...["", `/${multiarch}`].flatMap((sub) =>
      ["bits", "sys", "gnu", "asm", "asm-generic", "linux"].map((name) => `${sub}/${name}`)
    ).concat(["/stdio.h", "/stdlib.h", "/string.h", "/stdint.h", "/features.h"])
      .map((name) => `/usr/include${name}`),
    ...["features-time64.h", "alloca.h", "endian.h", "stdc-predef.h", "strings.h"]
      .map((name) => `/usr/include/${name}`),
  ].filter(exists).map((path) => path.slice(1));
  Deno.mkdirSync(dir);
  const script = 'cd / && dir="$0" && tar -ch "$@" | tar -x -C "$dir"';
  await run("sh", ["-c", script, dir, ...new Set(wanted)]);
  for (const name of ["bin", "tmp"]) Deno.mkdirSync(`${dir}/${name}`, { recursive: true });
  Deno.copyFileSync(findBusybox()!, `${dir}/bin/busybox`);
  Deno.symlinkSync("busybox", `${dir}/bin/sh`);
}
