/**
 * The directory that is served, what lies beside it, and those who watch that.
 *
 * @module
 */

/** Where everything lies; one directory, removed at the end. */
export class Ground implements Disposable {
  readonly root: string;
  readonly share: string;
  readonly #canary: string;
  readonly #expected: string;

  /** `root` is a directory of our own: see `contained.ts`. */
  constructor(root: string) {
    this.root = root;
    this.share = `${this.root}/share`;
    this.#canary = `${this.root}/canary`;
    Deno.mkdirSync(this.share);
    Deno.mkdirSync(`${this.#canary}/inner`, { recursive: true });
    Deno.writeTextFileSync(`${this.#canary}/secret`, "nobody reads this\n");
    Deno.writeTextFileSync(`${this.#canary}/inner/secret`, "nor this\n");
    this.#expected = this.#look();
  }

  /** A known beginning, whatever was done to it. */
  reset(): void {
    const names = [...Deno.readDirSync(this.share)].map(({ name }) => name);
    // Names that are no UTF-8 cannot be named here.
    if (names.some((name) => name.includes("\ufffd"))) {
      run("find", [this.share, "-mindepth", "1", "-delete"]);
    } else for (const name of names) Deno.removeSync(`${this.share}/${name}`, { recursive: true });
    const { share } = this;
    Deno.chmodSync(share, 0o755);
    Deno.chownSync(share, 0, 0);
    Deno.mkdirSync(`${share}/dir/sub`, { recursive: true });
    Deno.writeTextFileSync(`${share}/file`, "content\n");
    Deno.writeTextFileSync(`${share}/dir/file`, "more\n");
    Deno.writeFileSync(`${share}/large`, new Uint8Array(1 << 16));
    Deno.symlinkSync("../canary/secret", `${share}/link-out`);
    Deno.symlinkSync("file", `${share}/link-in`);
    for (let i = 0; i < 30; i++) Deno.writeTextFileSync(`${share}/dir/sub/n${i}`, "");
  }

  /** Somebody on the host puts something else in a name's place. Returns its path. */
  swap(which: number): string | null {
    const path = `${this.share}/${["a", "file", "dir", "b", "link-in"][which % 5]}`;
    try {
      Deno.removeSync(path, { recursive: true });
      if (which % 3 === 0) Deno.symlinkSync("../canary/secret", path);
      else if (which % 3 === 1) Deno.symlinkSync("../canary", path);
      else Deno.mkdirSync(path);
      return path;
    } catch {
      // Whatever the guest has made of it may be in the way.
      return null;
    }
  }

  /** Throws if anything beside the share has been touched. */
  check(): void {
    const now = this.#look();
    if (now !== this.#expected) {
      throw new Error(`outside the share: ${this.#expected} has become ${now}`);
    }
  }

  /** Looking does not open the files, and so leaves no trace in them. */
  #look(): string {
    const all = ["canary", "canary/secret", "canary/inner", "canary/inner/secret"].map((name) => {
      const info = Deno.lstatSync(`${this.root}/${name}`);
      const times = [info.mtime, info.ctime, info.atime].map((time) => time?.getTime());
      return [name, info.mode, info.uid, info.gid, info.size, info.nlink, ...times].join(" ");
    });
    return all.join("; ");
  }

  [Symbol.dispose](): void {
    for (const { name } of Deno.readDirSync(this.root)) {
      run("rm", ["-rf", `${this.root}/${name}`]);
    }
  }
}

function run(command: string, args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, cwd: "/", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
