/**
 * `serve()` as `mod.ts` exports it: what it refuses, what it reports, and that it cleans up.
 *
 * @module
 */
import assert from "node:assert/strict";
import { serve, type ServeOptions, SetupError } from "../../mod.ts";
import { TempTree } from "../support/temp_tree.ts";

const MEMORY_FS = new URL("../../examples/memory_fs.ts", import.meta.url);

/** The reason that a daemon could not be set up; its socket must not be left behind. */
async function setupFailure(options: Omit<ServeOptions, "socketPath">): Promise<string> {
  using tree = new TempTree();
  let reason: unknown;
  await serve({ ...options, socketPath: tree.path("s") }).catch((error) => reason = error);
  assert.ok(reason instanceof SetupError, String(reason));
  assert.deepEqual([...Deno.readDirSync(tree.root)], [], "nothing is left behind");
  return reason.message;
}

/** A module as an URL. */
function moduleOf(source: string): string {
  return `data:application/typescript,${encodeURIComponent(source)}`;
}

Deno.test("serve() rejects options that contradict each other or lack something", async () => {
  const wrong: [ServeOptions, RegExp][] = [
    [{ sharedDir: "." }, /Either socketPath or fd/],
    [{ sharedDir: ".", socketPath: "s", fd: 3 }, /Either socketPath or fd/],
    [{ socketPath: "s" }, /Either sharedDir or fileSystem/],
    [{ socketPath: "s", sharedDir: ".", fileSystem: MEMORY_FS }, /Either sharedDir or fileSystem/],
    [{ socketPath: "s", fileSystem: "memory_fs.ts" }, /absolute URL/],
    [{ fd: 3, socketGroup: "root", sharedDir: "." }, /socketGroup/],
    [{ socketPath: "s", fileSystem: MEMORY_FS, passthrough: {} }, /passthrough/],
    [{ socketPath: "s", sharedDir: ".", fileSystemOptions: {} }, /fileSystemOptions/],
  ];
  for (const [options, message] of wrong) {
    await assert.rejects(serve(options), { name: "TypeError", message });
  }
});

Deno.test("serve() rejects numbers and tags out of range", async () => {
  const base = { socketPath: "s", sharedDir: "." };
  const wrong: Partial<ServeOptions>[] = [
    { tag: "" },
    { tag: "é".repeat(19) },
    { requestQueues: 0 },
    { requestQueues: 1.5 },
    { requestQueues: 65 },
    { pollMicroseconds: -1 },
    { rlimitNofile: Number.NaN },
  ];
  for (const options of wrong) {
    await assert.rejects(serve({ ...base, ...options }), { name: "RangeError" });
  }
});

Deno.test("serve() names the shared directory that is missing", async () => {
  const message = await setupFailure({ sharedDir: "/nowhere/at/all", rlimitNofile: 0 });
  assert.match(message, /\/nowhere\/at\/all does not exist/);
});

Deno.test("serve() fails with what the file system's maker throws", async () => {
  const message = await setupFailure({
    fileSystem: MEMORY_FS,
    fileSystemOptions: { sizeMax: 3, files: { "four.txt": "four" } },
  });
  assert.equal(message, "sizeMax 3 leaves no room for the file four.txt");
});

Deno.test("serve() fails with what a promise of a file system is rejected with", async () => {
  const fileSystem = moduleOf(`export default async () => { throw new Error("no licence"); }`);
  assert.equal(await setupFailure({ fileSystem }), "no licence");
});

Deno.test("serve() says that a module has no default export", async () => {
  const message = await setupFailure({ fileSystem: moduleOf("export const a = 1;") });
  assert.match(message, /default is not a function/);
});

Deno.test("serve() says that a module does not exist", async () => {
  const message = await setupFailure({ fileSystem: new URL("./missing.ts", import.meta.url) });
  assert.match(message, /missing\.ts/);
});

Deno.test("serve() has its socket at once, and ends in order when it is told to", async () => {
  using tree = new TempTree();
  const ending = new AbortController();
  const lines: string[] = [];
  const add = (line: string): void => void lines.push(line);
  const log = { debug: add, info: add, warn: add, error: add };
  const socketPath = tree.path("s");
  const ended = serve({ socketPath, fileSystem: MEMORY_FS, signal: ending.signal, log });
  assert.ok(Deno.lstatSync(socketPath).isSocket);
  ending.abort();
  await ended;
  assert.deepEqual([...Deno.readDirSync(tree.root)], []);
  assert.match(lines.join("\n"), /Waiting for vhost-user socket connection/);
});
