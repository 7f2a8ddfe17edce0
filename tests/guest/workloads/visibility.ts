/**
 * Changes made on the host: when the guest must see them, by the cache mode's own promise.
 *
 * @module
 */
import assert from "node:assert/strict";
import { eventually, must } from "./expect.ts";
import * as libc from "./libc.ts";
import type { Workload } from "./workload.ts";

function exists(path: string): boolean {
  const found = libc.statx(path);
  if (found === -libc.ERRNO.ENOENT) return false;
  must(found, path);
  return true;
}

/**
 * `never`: at once. `auto`: within its second. `metadata` and `always`: only what was not looked at before.
 * The guest's own changes reach the host at once in every mode (with a write-back cache: after fsync).
 */
export const hostChanges: Workload = {
  name: "host-changes",
  core: true,
  async run({ dir, host, configuration, isVirtiofs }) {
    if (!isVirtiofs) return;
    const { cache, writeback } = configuration;
    const path = (name: string) => `${dir}/${name}`;
    // What the guest has never looked at, it finds in every mode.
    await host({ do: "write", name: "fresh", text: "from the host" });
    assert.equal(Deno.readTextFileSync(path("fresh")), "from the host");
    await host({ do: "mkdir", name: "dir" });
    await host({ do: "write", name: "dir/inner", text: "inner" });
    assert.equal(Deno.readTextFileSync(path("dir/inner")), "inner");
    // The guest's changes are on the host.
    const fd = must(libc.open(path("mine"), libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    assert.equal(libc.write(fd, new TextEncoder().encode("guest")), 5);
    if (writeback) must(libc.fsync(fd), "fsync");
    assert.equal(await host({ do: "read", name: "mine" }), "guest");
    libc.close(fd);
    if (cache === "metadata" || cache === "always") return;
    // Within the time-out, and at once without one. Some slack for a slow machine in `auto`.
    const within = cache === "never" ? 0 : 5000;
    const seen = (what: string, condition: () => boolean) =>
      within === 0 ? assert.ok(condition(), what) : eventually(what, within, condition);
    await host({ do: "chmod", name: "fresh", mode: 0o600 });
    await seen(
      "a host chmod",
      () => (must(libc.statx(path("fresh")), "statx").mode & 0o777) === 0o600,
    );
    await host({ do: "remove", name: "fresh" });
    await seen("a host removal", () => !exists(path("fresh")));
    await host({ do: "write", name: "fresh", text: "again" });
    await seen("a new file of an old name", () => exists(path("fresh")));
    await host({ do: "rename", name: "dir/inner", to: "dir/renamed" });
    await seen("a host rename", () => exists(path("dir/renamed")) && !exists(path("dir/inner")));
    await seen("a host rename in a listing", () => {
      const names = [...Deno.readDirSync(path("dir"))].map((entry) => entry.name);
      return names.join() === "renamed";
    });
    if (writeback) return; // Contents and sizes of files it knows are the guest's own then.
    await host({ do: "write", name: "mine", text: "a longer text from the host" });
    await seen(
      "host contents",
      () => Deno.readTextFileSync(path("mine")) === "a longer text from the host",
    );
    await host({ do: "write", name: "mine", text: "short" });
    await seen("a shorter file", () => {
      const isShort = must(libc.statx(path("mine")), "statx").size === 5;
      return isShort && Deno.readTextFileSync(path("mine")) === "short";
    });
  },
};
