/**
 * The host's side of the DAX suite: changes to files that the guest has mapped, and looks at what the host
 * sees of the guest's changes. A request is a line of words, the file's name second.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { expectBytes, pattern } from "./qemu_dax_pattern.ts";

/** A file's SHA-256, in hexadecimal. */
export function sha256(path: string): string {
  return createHash("sha256").update(Deno.readFileSync(path)).digest("hex");
}

/** What the host is asked to do during a boot, in one shared directory. */
export class DaxHost implements Disposable {
  readonly #dir: string;
  readonly #socketPath: string;
  readonly #running: Deno.ChildProcess[] = [];
  readonly #immutable = new Set<string>();

  constructor(dir: string, socketPath: string) {
    this.#dir = dir;
    this.#socketPath = socketPath;
  }

  /** Does what a line asks for; its answer is a line, or an exception. */
  answer(request: string): string {
    const [verb = "", name = "", ...words] = request.split(" ");
    const path = `${this.#dir}/${name}`;
    const [first = 0, second = 0, third = 0] = words.map(Number);
    switch (verb) {
      case "sum":
        return sha256(path);
      case "expect":
        this.#expect(path, first, second, words[2] === undefined ? first : third);
        return "";
      case "expect-part":
        expectBytes(name, readPart(path, first, second), pattern(third, first, second), first);
        return "";
      case "expect-zeros":
        expectBytes(name, readPart(path, first, second), new Uint8Array(second), first);
        return "";
      case "expect-stripes":
        this.#expectStripes(path, first, second, third);
        return "";
      case "write":
        writePart(path, first, pattern(third, first, second));
        return "";
      case "truncate":
        Deno.truncateSync(path, first);
        return "";
      case "punch":
        punchHole(path, first, second);
        return "";
      case "immutable":
        return this.#makeImmutable(path);
      case "run":
        this.#running.push(new Deno.Command(path, { args: words }).spawn());
        return "";
      case "mapped":
        return `${this.#mappedBytes()}`;
      default:
        throw new Error(`there is no "${verb}"`);
    }
  }

  /** The pattern up to `patternSize`, zeros from there on. */
  #expect(path: string, size: number, seed: number, patternSize: number): void {
    const good = new Uint8Array(size);
    good.set(pattern(seed, 0, patternSize));
    expectBytes(path.slice(this.#dir.length + 1), Deno.readFileSync(path), good);
  }

  /** As `parallel` of the probe writes it: in each 16 pages the first ones have an owner. */
  #expectStripes(path: string, size: number, owners: number, seed: number): void {
    const PAGE = 4096;
    const bytes = Deno.readFileSync(path);
    for (let offset = 0; offset < size; offset += PAGE) {
      const owner = (offset / PAGE) % 16;
      const good = owner < owners ? pattern(seed + owner, offset, PAGE) : new Uint8Array(PAGE);
      expectBytes("a stripe", bytes.subarray(offset, offset + PAGE), good, offset);
    }
  }

  /** Not every file system has this; "yes" or "no". */
  #makeImmutable(path: string): string {
    const { success } = new Deno.Command("chattr", { args: ["+i", path], stderr: "null" })
      .outputSync();
    if (success) this.#immutable.add(path);
    return success ? "yes" : "no";
  }

  /** How many bytes of files QEMU has mapped for the guest: the guest's kernel asks for whole ranges only. */
  #mappedBytes(): number {
    const RANGE = 2 * 1024 * 1024;
    let sum = 0;
    for (const line of Deno.readTextFileSync(`/proc/${this.#qemuPid()}/maps`).split("\n")) {
      const [range = "", flags = ""] = line.split(/\s+/);
      // Shared, and not the guest's memory.
      if (flags[3] !== "s" || line.includes("memfd:")) continue;
      const [from = 0, to = 0] = range.split("-").map((text) => parseInt(text, 16));
      if ((to - from) % RANGE === 0) sum += to - from;
    }
    return sum;
  }

  #qemuPid(): number {
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const [program = "", ...args] = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
        const isOurs = args.some((arg) =>
          arg.endsWith(`path=${this.#socketPath}`) ||
          arg.endsWith(`path=/host${this.#socketPath}`)
        );
        if (isOurs && program.includes("qemu")) return Number(name);
      } catch (error) {
        // It has ended since.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    throw new Error("QEMU does not run");
  }

  [Symbol.dispose](): void {
    for (const child of this.#running) {
      try {
        child.kill("SIGKILL");
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
      }
    }
    for (const path of this.#immutable) {
      new Deno.Command("chattr", { args: ["-i", path], stderr: "null" }).outputSync();
    }
  }
}

function readPart(path: string, offset: number, length: number): Uint8Array {
  using file = Deno.openSync(path);
  file.seekSync(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const count = file.readSync(bytes.subarray(done));
    if (count === null) break;
    done += count;
  }
  return bytes.subarray(0, done);
}

function writePart(path: string, offset: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true, create: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}

function punchHole(path: string, offset: number, length: number): void {
  const { success } = new Deno.Command("fallocate", {
    args: ["--punch-hole", "--offset", `${offset}`, "--length", `${length}`, path],
  }).outputSync();
  if (!success) throw new Error("fallocate failed");
}
