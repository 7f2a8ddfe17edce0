/** Places with fewer rights than a host's root has: it works, or one line says which option does. */

import { deepEqual, equal, match } from "node:assert/strict";
import { Guest } from "../../src/guest/guest.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { identity, IsolatedDaemon, type IsolatedOptions } from "./isolated_daemon.ts";

const ignore = ignoreWithoutRoot();

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `sandbox: ${name}`, ignore, fn });
}

/** What container engines leave to root by default. */
const CONTAINERS =
  "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";

function limitedTo(capabilities: string): string[] {
  return ["setpriv", "--bounding-set", capabilities, "--inh-caps", "-all"];
}

async function works(options: IsolatedOptions): Promise<void> {
  await using daemon = await IsolatedDaemon.start(options);
  {
    await using guest = await Guest.connect({ socketPath: daemon.socketPath });
    guest.writeTextFileSync("/f", "content");
    guest.renameSync("/f", "/g");
    equal(Deno.readTextFileSync(`${daemon.share}/g`), "content");
    if (!options.args?.includes("none")) {
      for (const { root } of daemon.threads()) equal(root, identity(daemon.share));
    }
  }
  equal((await daemon.status).code, 0, daemon.stderr());
}

/** The one line about it. */
async function refusal(options: IsolatedOptions): Promise<string> {
  await using daemon = await IsolatedDaemon.start(options);
  equal((await daemon.status).code, 1, daemon.stderr());
  deepEqual([...Deno.readDirSync(daemon.tree.path("run"))], []);
  const errors = daemon.stderr().split("\n").filter((line) => line.includes(" ERROR "));
  equal(errors.length, 1, daemon.stderr());
  return errors[0]!;
}

test("root with no capability: without a sandbox", async () => {
  const through = limitedTo("-all");
  match(await refusal({ through }), /--sandbox namespace is refused: EPERM.*; use --sandbox none$/);
  match(
    await refusal({ through, args: ["--sandbox", "chroot"] }),
    /--sandbox chroot takes CAP_SYS_CHROOT.*; use --sandbox none$/,
  );
  await works({ through, args: ["--sandbox", "none"] });
});

test("root with what containers leave it: chroot", async () => {
  const through = limitedTo(CONTAINERS);
  match(await refusal({ through }), /EPERM.*; use --sandbox chroot or --sandbox none$/);
  await works({ through, args: ["--sandbox", "chroot"] });
});

test("CAP_SYS_ADMIN alone makes namespaces, CAP_SYS_CHROOT alone changes the root", async () => {
  await works({ through: limitedTo("-all,+sys_admin") });
  await works({ through: limitedTo("-all,+sys_chroot"), args: ["--sandbox", "chroot"] });
});

/** In mounts of its own: all that is in / again in `$0`, and that as the root. */
const CHROOT = `
set -e
for entry in /*; do
  if [ -L "$entry" ]; then cp -P "$entry" "$0$entry"
  elif [ -d "$entry" ]; then mkdir "$0$entry"; mount --rbind "$entry" "$0$entry"
  fi
done
exec chroot "$0" "$@"`;

test("in a chroot into a directory: chroot", async () => {
  using place = new TempTree();
  const directory = place.directory("root");
  const through = ["unshare", "--mount", "sh", "-c", CHROOT, directory];
  match(
    await refusal({ through }),
    /root is no mount point.*; use --sandbox chroot or --sandbox none$/,
  );
  for (const { name } of Deno.readDirSync(directory)) Deno.removeSync(`${directory}/${name}`);
  await works({ through, args: ["--sandbox", "chroot"] });
});

test("in a chroot into a mount", async () => {
  using place = new TempTree();
  const script = `mount -t tmpfs root "$0" && ${CHROOT.trim().replace("set -e\n", "")}`;
  await works({ through: ["unshare", "--mount", "sh", "-c", script, place.directory("root")] });
});

test("in a pid namespace, as containers have", async () => {
  const script = 'mount -t proc proc /proc && exec "$@"';
  const through = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script];
  await using daemon = await IsolatedDaemon.start({ through: [...through, "sh"] });
  await using guest = await Guest.connect({ socketPath: daemon.socketPath });
  guest.mkdirSync("/d");
  equal(Deno.statSync(`${daemon.share}/d`).isDirectory, true);
});
