/**
 * Daemons for the tests of the guest in userspace: ours in several configurations, and others where they are
 * installed.
 *
 * @module
 */

import { Subject } from "../../src/cli/subject.ts";
import { servingPid } from "../support/serving_process.ts";

/** A daemon on a directory of its own, and both away when the test is over. */
export class ServedDirectory implements AsyncDisposable {
  readonly directory: string;
  readonly #subject: Subject;

  private constructor(directory: string, subject: Subject) {
    this.directory = directory;
    this.#subject = subject;
  }

  /** Our daemon with these options. */
  static async ours(...args: string[]): Promise<ServedDirectory> {
    // Beside the sockets of other tests, and reachable for every user.
    const directory = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "virtiofsd-ts-test-" });
    Deno.chmodSync(directory, 0o755);
    return new ServedDirectory(
      directory,
      await Subject.open({ kind: "directory", directory, args }),
    );
  }

  get socketPath(): string {
    return this.#subject.socketPath;
  }

  get pid(): number {
    return servingPid(this.#subject.pid!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#subject.close();
    await Deno.remove(this.directory, { recursive: true });
  }
}

/** Where Debian 12's QEMU package has the C daemon. */
export const C_DAEMON = "/usr/lib/qemu/virtiofsd";
/** Where Debian has the Rust daemon. */
export const RUST_DAEMON = Deno.env.get("VIRTIOFSD_TS_RUST") ?? "/usr/libexec/virtiofsd";

/** Whether a program is there; in the gate a missing C daemon is a failure. */
export function isInstalled(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Whether the suites may not be left out: .ci/run says so. */
export const REQUIRED: boolean = Deno.env.get("VIRTIOFSD_TS_REQUIRE_GUEST") === "1";
