import { equal, match } from "node:assert/strict";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { inodeAt } from "./host_changes.ts";

const SCRIPT = new URL("./watch_process.ts", import.meta.url).pathname;

const BECAUSE = /is watched with inotify: fanotify takes CAP_SYS_ADMIN/;

interface Said {
  readonly changed?: string;
  readonly log?: string;
  readonly open?: true | string;
}

/** `watch_process.ts` as root of a user namespace of its own: no capabilities that count, and limits that can be set without touching the machine's. */
async function watchUnprivileged(
  directory: string,
  watchesMax: number,
  body: (next: () => Promise<Said>) => Promise<void>,
): Promise<void> {
  const script = `echo ${watchesMax} > /proc/sys/user/max_inotify_watches && exec "$0" "$@"`;
  const watch = [Deno.execPath(), "run", "-A", "--no-check", SCRIPT, directory];
  await using child = new Deno.Command("unshare", {
    args: ["--user", "--map-root-user", "sh", "-c", script, ...watch],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream());
  const reader = lines.getReader();
  let text = "";
  const next = async (): Promise<Said> => {
    for (let end = text.indexOf("\n"); end < 0; end = text.indexOf("\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the watch ended, saying ${text}`);
      text += value;
    }
    const line = text.slice(0, text.indexOf("\n"));
    text = text.slice(line.length + 1);
    return JSON.parse(line);
  };
  try {
    await body(next);
    await child.stdin.close();
    while (!(await reader.read()).done);
    equal((await child.status).code, 0);
  } finally {
    await reader.cancel();
  }
}

Deno.test({
  name: "without CAP_SYS_ADMIN inotify is used, and one line says so",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    using tree = new TempTree();
    const inode = inodeAt(tree.file("a/f"));
    await watchUnprivileged(tree.root, 100, async (next) => {
      match((await next()).log ?? "", BECAUSE);
      equal((await next()).open, true);
      Deno.chmodSync(tree.path("a/f"), 0o600);
      equal((await next()).changed, inode);
    });
  },
});

Deno.test({
  name: "more directories than inotify watches: one line names the limit, and the rest is watched",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    using tree = new TempTree();
    const inode = inodeAt(tree.file("f"));
    for (let i = 0; i < 20; i++) tree.directory(`d${i}`);
    await watchUnprivileged(tree.root, 8, async (next) => {
      match((await next()).log ?? "", BECAUSE);
      match((await next()).log ?? "", /fs\.inotify\.max_user_watches allows: .*\/d\d+ and others/);
      equal((await next()).open, true);
      Deno.chmodSync(tree.path("f"), 0o600);
      equal((await next()).changed, inode);
    });
  },
});

Deno.test({
  name: "no watch at all: refused, with the reason",
  ignore: ignoreWithoutRoot(),
  fn: async () => {
    using tree = new TempTree();
    await watchUnprivileged(tree.root, 0, async (next) => {
      match((await next()).log ?? "", BECAUSE);
      match((await next()).log ?? "", /max_user_watches/);
      equal((await next()).open, "ENOSPC");
    });
  },
});
