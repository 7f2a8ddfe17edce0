/**
 * Bundles a program into one module that starts fast.
 *
 * `deno run` parses every module it loads before V8 does, for its imports, and caches that on disk,
 * which the executable must not do. So the program is carried in a string, which is one token, and the
 * module around it evaluates it: 40 ms less at start and in each Worker. Inside, `import.meta` is the outer module's, so `new Worker(import.meta.url)` works.
 *
 * @module
 */

import * as esbuild from "esbuild";

/** One bundle to make. */
export interface BundleOptions {
  /** The main module. */
  readonly entry: string;
  /** The deno.json whose imports are used. */
  readonly config: string;
  /** The program's name, seen in stack traces. */
  readonly name: string;
  /** Environment variables the bundle removes before anything can inherit them. */
  readonly unset: readonly string[];
}

/** Bundles, and writes one module without imports other than `node:` ones to `output`. */
export async function makeBundle(options: BundleOptions, output: string): Promise<void> {
  const { config, entry, name } = options;
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "-q", "--platform=deno", "--format=esm", "-c", config, "-o", output, entry],
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (code !== 0) throw new Error(`Cannot bundle "${entry}"`);
  const program = await closeProgram(output);
  const wide = /.{0,60}[^\0-\xff]/.exec(program)?.[0];
  if (wide !== undefined) {
    // The engine would keep its copies of the whole program (six, with a Worker) at two bytes a character: 10 MB more.
    throw new Error(
      `A tagged template has a character beyond Latin-1, which cannot be escaped: ${wide}`,
    );
  }
  const lines = [
    `const isMain = !("WorkerGlobalScope" in globalThis);`,
    // A Worker has the same environment, and perhaps no permission to change it.
    `if (isMain) for (const name of ${JSON.stringify(options.unset)}) Deno.env.delete(name);`,
    `const AsyncFunction = (async () => {}).constructor;`,
    `const source = ${JSON.stringify(`"use strict";\n${program}\n//# sourceURL=${name}.js`)};`,
    `await new AsyncFunction("meta", "isMain", source)(import.meta, isMain);`,
  ];
  await Deno.writeTextFile(output, lines.join("\n") + "\n");
}

/**
 * Turns a module into the body of an async function of `meta`, which stands for import.meta, and
 * `isMain`, which stands for import.meta.main: deno says true in a Worker of the bundle as well.
 */
async function closeProgram(path: string): Promise<string> {
  const nodeModules: esbuild.Plugin = {
    name: "node-modules",
    setup(build) {
      build.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "node" }));
      // A function cannot have static imports; this is the same without one.
      build.onLoad({ filter: /.*/, namespace: "node" }, ({ path }) => ({
        contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
      }));
    },
  };
  try {
    const { outputFiles } = await esbuild.build({
      // Imported, not named as the entry: so the result has no exports.
      stdin: { contents: `import ${JSON.stringify(path)};`, resolveDir: "/" },
      bundle: true,
      write: false,
      format: "esm",
      platform: "neutral",
      target: "esnext",
      charset: "ascii",
      define: { "import.meta": "meta", "import.meta.main": "isMain" },
      plugins: [nodeModules],
      logLevel: "error",
      minifyWhitespace: true,
      minifySyntax: true,
      lineLimit: 120, // so that stack traces have lines to point to; names stay as they are
    });
    return outputFiles[0]?.text ?? "";
  } finally {
    await esbuild.stop();
  }
}
