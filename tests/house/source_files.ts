/**
 * The sources as the house rules look at them: text without comments, and imports.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url);

/** One module of the checkout. */
export interface SourceFile {
  /** From the checkout's root: `src/fuse/server.ts`. */
  readonly path: string;
  readonly text: string;
  /** The text with comments blanked out; strings stay. Line numbers are those of the file. */
  readonly code: string;
}

/** All files below `folder` whose name ends so, in order. */
export function sourceFiles(folder: string, extension = ".ts"): SourceFile[] {
  const files: SourceFile[] = [];
  const visit = (path: string): void => {
    for (const entry of Deno.readDirSync(new URL(path, ROOT))) {
      const inside = `${path}/${entry.name}`;
      if (entry.isDirectory) visit(inside);
      else if (entry.name.endsWith(extension)) {
        const text = Deno.readTextFileSync(new URL(inside, ROOT));
        files.push({ path: inside, text, code: withoutComments(text) });
      }
    }
  };
  visit(folder);
  return files.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** One file by its path. */
export function sourceFile(path: string): SourceFile {
  const text = Deno.readTextFileSync(new URL(path, ROOT));
  return { path, text, code: withoutComments(text) };
}

/** Blanks comments out. Strings and templates are stepped over, so that "//" in one is no comment. */
export function withoutComments(text: string): string {
  const token =
    /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return text.replace(token, (match) => {
    const comment = match.startsWith("//") || match.startsWith("/*");
    return comment ? match.replace(/[^\n]/g, " ") : match;
  });
}

/** Where a module imports from: relative specifiers as paths from the checkout's root, packages as they are. */
export function importsOf({ path, code }: SourceFile): string[] {
  const found: string[] = [];
  const pattern = /(?:\bfrom\s+|\bimport\s*\(?\s*)"([^"]+)"/g;
  for (const [, specifier] of code.matchAll(pattern)) {
    found.push(
      specifier!.startsWith(".")
        ? new URL(specifier!, `file:///${path}`).pathname.slice(1)
        : specifier!,
    );
  }
  return found;
}
