/**
 * Whole trees: unpacked, searched, compiled from, removed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mustRun, run } from "./processes.ts";
import type { Workload } from "./workload.ts";

/** A tree that every Debian with a C compiler has (package linux-libc-dev), or else one that every Debian has. */
const SOURCE_TREES = ["/usr/include/linux", "/usr/share/perl5", "/usr/share/perl"];

function sourceTree(): string {
  for (const path of SOURCE_TREES) {
    try {
      if (Deno.statSync(path).isDirectory) return path;
    } catch {
      // Try the next one.
    }
  }
  throw new Error("Cannot find a tree of files to copy");
}

/** Every path of a tree with what a copy must keep. */
function describeTree(root: string, prefix = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of Deno.readDirSync(`${root}/${prefix}`)) {
    const path = `${prefix}${entry.name}`;
    const info = Deno.lstatSync(`${root}/${path}`);
    const kind = info.isDirectory ? "d" : info.isSymlink ? "l" : "f";
    const size = info.isFile ? info.size : 0;
    found.set(path, `${kind} ${(info.mode! & 0o7777).toString(8)} ${info.uid}:${info.gid} ${size}`);
    if (info.isDirectory) {
      for (const [inner, what] of describeTree(root, `${path}/`)) found.set(inner, what);
    }
  }
  return found;
}

/** tar's work: many creates, writes, modes and times. */
export const unpackTree: Workload = {
  name: "unpack-tree",
  core: true,
  async run({ dir, scratch }) {
    const source = sourceTree();
    const archive = `${scratch}/tree.tar`;
    await mustRun("tar", ["-C", source, "-cf", archive, "."]);
    Deno.mkdirSync(`${dir}/tree`);
    await mustRun("tar", ["-C", `${dir}/tree`, "-xpf", archive]);
    await mustRun("diff", ["-r", source, `${dir}/tree`]);
    const inGuest = describeTree(`${dir}/tree`);
    assert.deepEqual(inGuest, describeTree(source));
    const pattern = "define|package";
    const count = async (path: string) =>
      (await mustRun("grep", ["-rEc", "--no-messages", pattern, "."], path)).split("\n").sort();
    assert.deepEqual(await count(`${dir}/tree`), await count(source));
    await mustRun("cp", ["-a", `${dir}/tree`, `${dir}/copy`]);
    await mustRun("rm", ["-rf", `${dir}/copy`]);
    assert.equal((await run("ls", [`${dir}/copy`])).code, 2);
    return { source };
  },
  async verify({ dir }, { source }) {
    await mustRun("diff", ["-r", String(source), `${dir}/tree`]);
    assert.deepEqual(describeTree(`${dir}/tree`), describeTree(String(source)));
    assert.deepEqual([...Deno.readDirSync(dir)].map((entry) => entry.name), ["tree"]);
  },
};

const PROGRAM = `#include <stdio.h>
#include "part.h"
int main(int argc, char **argv) { printf("%d\\n", part(argc)); return 0; }
`;

function hasCompiler(): boolean {
  try {
    return Deno.statSync("/usr/bin/gcc").isFile;
  } catch {
    return false;
  }
}

/** A compiler's work: sources, objects, an executable, all on the mount; then the program is run from there. */
export const compile: Workload = {
  name: "compile",
  core: false,
  notFor: () => hasCompiler() ? null : "gcc is not installed",
  async run({ dir }) {
    Deno.writeTextFileSync(`${dir}/main.c`, PROGRAM);
    Deno.writeTextFileSync(`${dir}/part.h`, "int part(int n);\n");
    Deno.writeTextFileSync(
      `${dir}/part.c`,
      '#include "part.h"\nint part(int n) { return n * 41 + 1; }\n',
    );
    for (const name of ["main", "part"]) {
      await mustRun("gcc", ["-O2", "-c", `${name}.c`, "-o", `${name}.o`], dir);
    }
    await mustRun("gcc", ["main.o", "part.o", "-o", "program"], dir);
    assert.equal(await mustRun(`${dir}/program`, []), "42\n");
  },
  async verify({ dir }) {
    assert.equal(await mustRun(`${dir}/program`, []), "42\n");
  },
};
