/** `--uid-map` and `--gid-map`: whose the files of an ordinary user's guest are on the host. */

import { deepEqual, equal, match } from "node:assert/strict";
import { parseIdRange } from "../../src/sandbox/id_maps.ts";
import { Guest } from "../../src/guest/guest.ts";
import { InheritedSocket } from "../cli/listening_fd.ts";
import { TempTree } from "../support/temp_tree.ts";
import { isAlive, type IsolatedDaemon } from "./isolated_daemon.ts";
import {
  ignoreWithoutIdMaps,
  OrdinaryUser,
  RANGE_SIZE,
  RANGE_START,
  USER,
} from "./ordinary_user.ts";

const GUEST_UID = 1000;

Deno.test("sandbox: id ranges are read as Rust virtiofsd's", () => {
  deepEqual(parseIdRange(":0:1000:1:"), { inside: 0, outside: 1000, count: 1 });
  for (
    const [text, why] of [
      ["0:1000:1", /expected/],
      [":0:1000:0:", /count is 0/],
      [":0:4294967295:1:", /32 bits/],
      [":4294967290:0:10:", /32 bits/],
    ] as const
  ) match(String(parseIdRange(text)), why);
});

/** `--uid-map :0:65534:1: --uid-map …`, the same for groups. */
function maps(...ranges: readonly (readonly [number, number, number])[]): string[] {
  return ["--uid-map", "--gid-map"].flatMap((option) =>
    ranges.flatMap((range) => [option, `:${range.join(":")}:`])
  );
}

/** His own id is root's, and all others are from his range: what podman, bubblewrap and libvirt's session mode make. */
const USUAL = maps([0, USER, 1], [1, RANGE_START, RANGE_SIZE]);

function mapOf(daemon: IsolatedDaemon, file: "uid_map" | "gid_map"): number[][] {
  return Deno.readTextFileSync(`/proc/${daemon.serverPid}/${file}`).trim().split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
}

function owner(path: string): [number | null, number | null] {
  const { uid, gid } = Deno.statSync(path);
  return [uid, gid];
}

/** Files of root, of a user, and given away, with their owners outside. */
async function work(daemon: IsolatedDaemon, root: number, user: number): Promise<void> {
  await using guest = await Guest.connect({ socketPath: daemon.socketPath });
  guest.chmodSync("/", 0o777);
  guest.as({ uid: 0, gid: 0 }).writeTextFileSync("/roots", "root's");
  guest.as({ uid: GUEST_UID, gid: GUEST_UID }).writeTextFileSync("/users", "user's");
  guest.writeTextFileSync("/given", "");
  guest.chownSync("/given", GUEST_UID, GUEST_UID);
  const { share } = daemon;
  deepEqual(owner(`${share}/roots`), [root, root]);
  deepEqual(owner(`${share}/users`), [user, user]);
  deepEqual(owner(`${share}/given`), [user, user]);
  equal(guest.statSync("/users").uid, GUEST_UID);
  // What is nobody's in there shows as the overflow id.
  Deno.writeTextFileSync(`${share}/hosts`, "", { mode: 0o600 });
  equal(guest.statSync("/hosts").uid, 65534);
}

Deno.test({
  name: "sandbox: an ordinary user's daemon with ranges of ids",
  ignore: ignoreWithoutIdMaps(),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async (t) => {
    using user = await OrdinaryUser.open();

    await t.step("ids of the guest are those of the user and of his range", async () => {
      await using daemon = await user.start({ args: USUAL });
      const ranges = [[0, USER, 1], [1, RANGE_START, RANGE_SIZE]];
      deepEqual([mapOf(daemon, "uid_map"), mapOf(daemon, "gid_map")], [ranges, ranges]);
      await share(daemon, USER);
      await work(daemon, USER, RANGE_START + GUEST_UID - 1);
      equal((await daemon.status).code, 0, daemon.stderr());
    });

    await t.step("the range alone", async () => {
      await using daemon = await user.start({ args: maps([0, RANGE_START, RANGE_SIZE]) });
      await share(daemon, RANGE_START);
      await work(daemon, RANGE_START, RANGE_START + GUEST_UID);
    });

    await t.step("three ranges", async () => {
      const ranges = [[0, RANGE_START + 9, 1], [1, USER, 1], [GUEST_UID, RANGE_START + 10, 5]];
      await using daemon = await user.start({
        args: maps(...ranges as [number, number, number][]),
      });
      deepEqual(mapOf(daemon, "gid_map"), ranges);
      await share(daemon, RANGE_START + 9);
      await work(daemon, RANGE_START + 9, RANGE_START + 10);
    });

    await t.step("libvirt's session mode", async () => {
      using place = new TempTree();
      const socketPath = place.path("launchers");
      using socket = new InheritedSocket(socketPath);
      // Spelled as libvirt does, with a socket of its own.
      const args = USUAL.join(" ").replaceAll(/(--[ug]id-map) /g, "$1=").split(" ");
      await using daemon = await user.start({
        socket: [`--fd=${socket.fd}`],
        args: [...args, "--sandbox=namespace", "--log-level", "debug"],
      });
      {
        await using guest = await Guest.connect({ socketPath });
        guest.as({ uid: 0, gid: 0 }).writeTextFileSync("/roots", "");
      }
      deepEqual(owner(`${daemon.share}/roots`), [USER, USER]);
      equal((await daemon.status).code, 0, daemon.stderr());
    });

    await t.step("the server goes when the process that started it is killed", async () => {
      for (const args of [[], USUAL]) {
        await using daemon = await user.start({ args });
        const server = daemon.serverPid;
        daemon.signal("SIGKILL");
        await daemon.status;
        await daemon.until(() => !isAlive(server), "the server has ended");
      }
    });

    await t.step("ranges that are not his are refused in one line", async () => {
      for (
        const [args, why] of [
          [maps([0, USER, 1], [1, 100_000, 65_536]), /--gid-map is refused by newgidmap .*subgid/],
          [
            ["--uid-map", ":0:0:1:"],
            /--uid-map is refused by newuidmap .*\/etc\/subuid.*not allowed/,
          ],
          [maps([0, USER, 1], [0, RANGE_START, 2]), /-map is refused by new.idmap/],
          [[...USUAL, "--sandbox", "chroot"], /--uid-map needs --sandbox namespace/],
        ] as const
      ) {
        await using daemon = await user.start({ args });
        equal((await daemon.status).code, 1);
        const errors = daemon.stderr().split("\n").filter((line) => line.includes(" ERROR "));
        deepEqual([errors.length, why.test(errors[0]!)], [1, true], daemon.stderr());
        deepEqual([...Deno.readDirSync(daemon.tree.path("run"))], []);
      }
    });

    await t.step("where there are no user namespaces, one line says what to do", async () => {
      await using daemon = await user.start({ through: WITHOUT_NAMESPACES });
      equal((await daemon.status).code, 1);
      match(
        daemon.stderr(),
        /ERROR .*--sandbox namespace is refused: ENOSPC.*; use --sandbox none\n$/,
      );
    });

    await t.step("--sandbox chroot is not for him", async () => {
      await using daemon = await user.start({ args: ["--sandbox", "chroot"] });
      equal((await daemon.status).code, 1);
      match(
        daemon.stderr(),
        /takes CAP_SYS_CHROOT.*; use --sandbox namespace or --sandbox none\n$/,
      );
    });

    await t.step("he may be root of a container", async () => {
      await using daemon = await user.start({ through: ["unshare", "--user", "--map-root-user"] });
      await using guest = await Guest.connect({ socketPath: daemon.socketPath });
      guest.mkdirSync("/d");
      deepEqual(owner(`${daemon.share}/d`), [USER, USER]);
    });
  },
});

/** A user namespace that allows no others, where he is who he was. */
const WITHOUT_NAMESPACES = [
  ...["unshare", "--user", `--map-user=${USER}`, `--map-group=${USER}`, "--keep-caps"],
  ...["sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"],
  ...["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"],
];

/** Gives the share to the guest's root. */
async function share(daemon: IsolatedDaemon, uid: number): Promise<void> {
  await Deno.chown(daemon.share, uid, uid);
}
