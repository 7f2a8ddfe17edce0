/**
 * One directory, one version table, several daemons: what guests with `--cache shared` live in.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Daemon, isRustPeer } from "./daemon.ts";
import { Frontend } from "./frontend.ts";
import { ignoreWithoutRoot } from "./privilege.ts";
import { TempTree } from "./temp_tree.ts";

/** How many slots the tables of tests have unless they want to fill them. */
const SLOTS = 4096;

/** What a test body gets. */
export interface SharedScene {
  readonly tree: TempTree;
  readonly daemons: readonly Daemon[];
}

/** A table in shared memory that goes when its user does. */
export class TablePath implements Disposable {
  readonly path = `/dev/shm/vfsd-test-${crypto.randomUUID()}`;
  readonly registry = `${this.path}.registry`;

  /** The words of a daemon's command line that name it. */
  args(slots = SLOTS): string[] {
    return ["--version-table", this.path, "--version-slots", `${slots}`];
  }

  [Symbol.dispose](): void {
    for (const path of [this.path, this.registry]) {
      try {
        Deno.removeSync(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }
}

/** Daemons that serve one directory with one table to the tests of one file. */
export class SharedShare {
  readonly #daemons: Daemon[] = [];
  readonly table = new TablePath();
  #tree: TempTree | null = null;

  /** `args` are further words of each daemon's command line; without a window unless they say so. */
  constructor(
    readonly count: number,
    readonly args: readonly string[] = ["--dax", "never"],
    readonly slots = SLOTS,
  ) {
    Deno.test.afterAll(async () => {
      for (const daemon of this.#daemons) await daemon.kill();
      this.table[Symbol.dispose]();
      this.#tree?.[Symbol.dispose]();
    });
  }

  /** Defines a test in an empty tree that makes its own connections. */
  test(name: string, body: (scene: SharedScene) => void | Promise<void>): void {
    const ignore = ignoreWithoutRoot() || isRustPeer;
    // The daemons outlive the test that happened to start them.
    Deno.test({ name, ignore, sanitizeOps: false, sanitizeResources: false }, async () => {
      const tree = this.#emptyTree();
      await this.#startMissing(tree);
      try {
        await body({ tree, daemons: [...this.#daemons] });
      } finally {
        Frontend.closeAll();
      }
      for (const daemon of this.#daemons) {
        assert.ok(await daemon.isRunning(), `a daemon ended; it said:\n${daemon.stderr()}`);
      }
    });
  }

  #emptyTree(): TempTree {
    this.#tree ??= new TempTree();
    for (const entry of Deno.readDirSync(this.#tree.root)) {
      Deno.removeSync(this.#tree.path(entry.name), { recursive: true });
    }
    return this.#tree;
  }

  async #startMissing(tree: TempTree): Promise<void> {
    for (let index = 0; index < this.count; index += 1) {
      const present = this.#daemons[index];
      if (present !== undefined && await present.isRunning()) continue;
      await present?.kill();
      this.#daemons[index] = await startSharing(tree, this.table, this.args, this.slots);
    }
  }
}

/** Starts a daemon that serves a tree with a table. */
export function startSharing(
  tree: TempTree,
  table: TablePath,
  args: readonly string[] = ["--dax", "never"],
  slots?: number,
): Promise<Daemon> {
  return Daemon.start({
    sharedDir: tree.root,
    cache: "shared",
    keepListening: true,
    args: [...table.args(slots), ...args],
  });
}
