/**
 * One daemon for all tests of a file: with `--keep-listening` each test gets a connection of its own,
 * and a daemon that died under a test is reported by that test and replaced for the next one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Daemon, isRustPeer } from "./daemon.ts";
import { Frontend } from "./frontend.ts";
import { ignoreWithoutRoot } from "./privilege.ts";
import { Guest, type GuestOptions } from "./guest.ts";
import { TempTree } from "./temp_tree.ts";

/** What a test body gets. */
export interface Scene {
  readonly guest: Guest;
  readonly tree: TempTree;
  readonly daemon: Daemon;
}

/** The guest of a test, and where the test makes sense. */
export interface SceneOptions extends GuestOptions {
  /** What is asked for is right, but Rust virtiofsd is known not to do it. */
  readonly notOnRust?: boolean;
}

/** A shared directory and the daemon that serves it to the tests of one file. */
export class ServedTree {
  #daemon: Daemon | null = null;
  #tree: TempTree | null = null;

  /** `args` are further words of the daemon's command line. */
  constructor(readonly args: readonly string[] = [], readonly cache = "auto") {
    Deno.test.afterAll(async () => {
      await this.#daemon?.kill();
      this.#tree?.[Symbol.dispose]();
    });
  }

  /** Defines a test that runs on a connection of its own, in an empty tree. */
  test(
    name: string,
    body: (scene: Scene) => void | Promise<void>,
    options: SceneOptions = {},
  ): void {
    this.testWithoutGuest(name, async ({ daemon, tree }) => {
      using guest = Guest.connect(daemon.socketPath, options);
      await body({ guest, tree, daemon });
    }, options);
  }

  /** Defines a test that makes its own connections. */
  testWithoutGuest(
    name: string,
    body: (scene: Omit<Scene, "guest">) => void | Promise<void>,
    options: SceneOptions = {},
  ): void {
    const ignore = ignoreWithoutRoot() || (isRustPeer && options.notOnRust === true);
    // The daemon outlives the test that happened to start it.
    Deno.test({ name, ignore, sanitizeOps: false, sanitizeResources: false }, async () => {
      const tree = this.#emptyTree();
      const daemon = await this.#running(tree);
      try {
        await body({ daemon, tree });
      } finally {
        Frontend.closeAll();
      }
      if (isRustPeer) return;
      assert.ok(await daemon.isRunning(), `the daemon ended; it said:\n${daemon.stderr()}`);
    });
  }

  #emptyTree(): TempTree {
    this.#tree ??= new TempTree();
    for (const entry of Deno.readDirSync(this.#tree.root)) {
      Deno.removeSync(this.#tree.path(entry.name), { recursive: true });
    }
    Deno.chmodSync(this.#tree.root, 0o755);
    return this.#tree;
  }

  async #running(tree: TempTree): Promise<Daemon> {
    if (this.#daemon !== null && !isRustPeer && await this.#daemon.isRunning()) return this.#daemon;
    await this.#daemon?.kill();
    this.#daemon = await Daemon.start({
      sharedDir: tree.root,
      cache: this.cache,
      keepListening: true,
      args: this.args,
    });
    return this.#daemon;
  }
}
