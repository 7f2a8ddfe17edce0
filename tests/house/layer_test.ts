import { deepEqual, equal } from "node:assert/strict";
import { importsOf, type SourceFile, sourceFile, sourceFiles } from "./source_files.ts";

/** The folders of src/, and what each may import beside itself. ARCHITECTURE.md tells why. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  sys: ["wire"],
  intervals: [],
  state: ["intervals", "sys", "wire"],
  memory: ["sys", "wire"],
  virtqueue: ["memory", "sys", "wire"],
  fuse: ["sys", "wire"],
  dax: ["fuse", "intervals", "state", "sys", "wire"],
  coherence: ["state", "sys", "wire"],
  passthrough: ["coherence", "fuse", "state", "sys", "wire"],
  inspect: ["coherence", "intervals", "state", "sys", "wire"],
  vhost_user: ["memory", "sys", "wire"],
  device: [
    "coherence",
    "dax",
    "fuse",
    "intervals",
    "memory",
    "passthrough",
    "state",
    "sys",
    "vhost_user",
    "virtqueue",
    "wire",
  ],
  sandbox: ["sys", "wire"],
  guest: ["intervals", "sys", "wire"],
  mount: ["guest", "sys", "wire"],
  bench: ["guest", "sys", "wire"],
  check: ["guest", "sys", "wire"],
};

/** The folders of src/guest/, from the socket up: each may import those before it. */
const GUEST_FOLDERS = ["frontend", "driver", "client", "dax", "vfs"];

/** Modules directly in src/ that every layer may import: plain data, and errors. */
const FOR_ALL = new Set(["assert.ts", "config.ts", "isolation_config.ts", "setup_error.ts"]);
/** Layers above the device: the daemon, the library, the command line, its demonstration. They may import anything in src/. */
const ABOVE = new Set(["cli", "demo", "isolated", "library.ts", "serve.ts"]);
/** What only the daemon, the library and the command line may import. */
const LOG = "log.ts";
const LOG_USERS = new Set(["cli", "isolated", "library.ts", "serve.ts"]);
/** What deno.json names, and nothing else. */
const PACKAGES = Object.keys(JSON.parse(sourceFile("deno.json").text).imports);

/** `src/fuse/server.ts` is of layer `fuse`; `src/serve.ts` of its own. */
function layerOf(path: string): string {
  return path.split("/")[1]!;
}

/** Every import that the table does not allow, as a line of text. */
function violations(files: readonly SourceFile[]): string[] {
  const found: string[] = [];
  for (const file of files) {
    const layer = layerOf(file.path);
    for (const imported of importsOf(file)) {
      if (!imported.startsWith("src/")) {
        const isPackage = PACKAGES.some((name) =>
          imported === name || imported.startsWith(`${name}/`)
        );
        if (!isPackage) found.push(`${file.path} imports ${imported}`);
        continue;
      }
      const target = layerOf(imported);
      if (target === LOG) {
        if (!LOG_USERS.has(layer)) found.push(`${file.path} imports the log`);
        continue;
      }
      if (target === layer || FOR_ALL.has(target) || ABOVE.has(layer)) continue;
      // log.ts and its like stand above sys.
      if (layer === LOG && target === "sys") continue;
      if (!(LAYERS[layer] ?? []).includes(target)) found.push(`${file.path} imports ${imported}`);
    }
  }
  return found;
}

const files = sourceFiles("src");

Deno.test("imports go down the layers only", () => {
  deepEqual(violations(files), []);
});

Deno.test("the guest's folders import downwards only", () => {
  const found: string[] = [];
  for (const file of sourceFiles("src/guest")) {
    const own = GUEST_FOLDERS.indexOf(file.path.split("/")[2]!);
    if (own < 0) continue;
    for (const imported of importsOf(file)) {
      if (!imported.startsWith("src/guest/")) continue;
      const folder = imported.split("/")[2]!;
      const allowed = folder === "daemon_error.ts" ||
        (GUEST_FOLDERS.includes(folder) && GUEST_FOLDERS.indexOf(folder) <= own);
      if (!allowed) found.push(`${file.path} imports ${imported}`);
    }
  }
  deepEqual(found, []);
});

Deno.test("every folder of src/ has its place in the table", () => {
  const folders = new Set(
    files.filter((file) => file.path.split("/").length > 2).map((f) => layerOf(f.path)),
  );
  deepEqual([...folders].filter((folder) => !(folder in LAYERS) && !ABOVE.has(folder)), []);
});

Deno.test("the table allows no cycle between layers", () => {
  const reaches = (from: string, seen: Set<string>): Set<string> => {
    for (const next of LAYERS[from] ?? []) {
      if (!seen.has(next)) reaches(next, seen.add(next));
    }
    return seen;
  };
  for (const layer of Object.keys(LAYERS)) {
    equal(reaches(layer, new Set()).has(layer), false, layer);
  }
});

Deno.test("an import against the direction is found", () => {
  const bad = (path: string, imported: string): SourceFile => ({
    path,
    text: "",
    code: `import type { X } from "${imported}";`,
  });
  equal(violations([bad("src/fuse/a.ts", "../virtqueue/chain.ts")]).length, 1);
  equal(violations([bad("src/wire/a.ts", "../sys/errno.ts")]).length, 1);
  equal(violations([bad("src/vhost_user/a.ts", "../log.ts")]).length, 1);
  equal(violations([bad("src/fuse/a.ts", "../../main.ts")]).length, 1);
  equal(violations([bad("src/fuse/a.ts", "../sys/errno.ts")]).length, 0);
});

Deno.test("no module imports itself, over however many others", () => {
  const imports = new Map(files.map((file) => [file.path, importsOf(file)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    for (const next of imports.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  deepEqual(cycles, []);
});

Deno.test("main.ts and mod.ts import from src/ only", () => {
  for (const path of ["main.ts", "mod.ts"]) {
    for (const imported of importsOf(sourceFile(path))) {
      equal(imported.startsWith("src/"), true, `${path} imports ${imported}`);
    }
  }
});
