/**
 * The few things that a workload asks the host to do while the guest runs: changes behind the guest's
 * back, and a look at what the host sees now.
 *
 * @module
 */
import * as libc from "./workloads/libc.ts";

/** A request from the guest; paths are names inside the workload's directory. */
export type HostAction =
  | { readonly do: "write"; readonly name: string; readonly text: string }
  | { readonly do: "append"; readonly name: string; readonly text: string }
  | { readonly do: "read"; readonly name: string }
  | { readonly do: "remove"; readonly name: string }
  | { readonly do: "mkdir"; readonly name: string }
  | { readonly do: "rename"; readonly name: string; readonly to: string }
  | { readonly do: "chmod"; readonly name: string; readonly mode: number }
  | { readonly do: "stat"; readonly name: string }
  | { readonly do: "lock"; readonly name: string; readonly kind: "flock" | "fcntl" }
  | { readonly do: "unlock"; readonly name: string; readonly kind: "flock" | "fcntl" }
  | { readonly do: "try-lock"; readonly name: string; readonly kind: "flock" | "fcntl" };

/** What `stat` and `try-lock` answer. */
export interface HostStatus {
  readonly size: number;
  readonly mode: number;
  readonly links: number;
  readonly blocks: number;
}

/** Host locks held for the guest's workloads, by path and kind. Ends with the descriptors closed. */
export class HostActions implements Disposable {
  readonly #locks = new Map<string, number>();

  /** Does what was asked, in a directory; the answer must be plain data. */
  perform(dir: string, action: HostAction): unknown {
    const path = `${dir}/${action.name}`;
    switch (action.do) {
      case "write":
        return Deno.writeTextFileSync(path, action.text);
      case "append":
        return Deno.writeTextFileSync(path, action.text, { append: true });
      case "read":
        return Deno.readTextFileSync(path);
      case "remove":
        return Deno.removeSync(path, { recursive: true });
      case "mkdir":
        return Deno.mkdirSync(path);
      case "rename":
        return Deno.renameSync(path, `${dir}/${action.to}`);
      case "chmod":
        return Deno.chmodSync(path, action.mode);
      case "stat":
        return hostStatus(path);
      case "lock":
        return this.#lock(path, action.kind);
      case "unlock":
        return this.#unlock(path, action.kind);
      case "try-lock": {
        const result = this.#lock(path, action.kind);
        if (result === 0) this.#unlock(path, action.kind);
        return result;
      }
    }
  }

  /** Takes a lock without waiting; 0 or a negative errno. */
  #lock(path: string, kind: "flock" | "fcntl"): number {
    const fd = libc.open(path, libc.O.RDWR);
    if (fd < 0) return fd;
    // An OFD lock conflicts with the daemon's locks of either sort and belongs to this descriptor only.
    const result = kind === "flock"
      ? libc.flock(fd, libc.LOCK.EX | libc.LOCK.NB)
      : libc.fcntlLock(fd, libc.FCNTL.OFD_SETLK, libc.FCNTL.WRLCK, 0, 0).result;
    if (result < 0) libc.close(fd);
    else this.#locks.set(`${kind} ${path}`, fd);
    return result;
  }

  #unlock(path: string, kind: "flock" | "fcntl"): number {
    const fd = this.#locks.get(`${kind} ${path}`);
    if (fd === undefined) throw new Error(`Cannot unlock "${path}": no lock is held`);
    this.#locks.delete(`${kind} ${path}`);
    return libc.close(fd);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#locks.values()) libc.close(fd);
    this.#locks.clear();
  }
}

function hostStatus(path: string): HostStatus {
  const found = libc.statx(path);
  if (typeof found === "number") throw new Error(`Cannot stat "${path}": errno ${-found}`);
  return { size: found.size, mode: found.mode, links: found.links, blocks: found.blocks };
}
