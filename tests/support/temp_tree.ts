/**
 * Directories that a test serves and looks at from the host's side.
 *
 * @module
 */

/** A directory that is removed when the test is over. */
export class TempTree implements Disposable {
  readonly root: string;

  constructor(prefix = "virtiofsd-ts-test-") {
    // Short names: a socket path has 107 bytes.
    this.root = Deno.makeTempDirSync({ prefix });
    Deno.chmodSync(this.root, 0o755);
  }

  /** The path of something inside. */
  path(...names: string[]): string {
    return [this.root, ...names].join("/");
  }

  /** Writes a file (with its directories) and returns its path. */
  file(name: string, content: string | Uint8Array = ""): string {
    const path = this.path(name);
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  /** Makes a directory and returns its path. */
  directory(name: string, mode = 0o755): string {
    const path = this.path(name);
    Deno.mkdirSync(path, { recursive: true });
    Deno.chmodSync(path, mode);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.root, { recursive: true });
  }
}
