import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { REQUIRED } from "../userspace_guest/daemons.ts";
import { servingPid } from "../support/serving_process.ts";
import { CAN_MOUNT, isMounted, script } from "./mounted.ts";
import { exists, seen, SharedPair, withoutDaemon } from "./shared_pair.ts";

// Mounting takes root and /dev/fuse; the gate has both, and may not leave these out.
const ignore = !CAN_MOUNT && !REQUIRED;

function mode(path: string): number {
  return Deno.lstatSync(path).mode! & 0o777;
}

Deno.test({
  name: "shared mounts: what one changes the other sees: data, attributes, names, links, listings",
  ignore,
  async fn() {
    await using pair = await SharedPair.start();
    const [a, b] = [pair.one.mountPoint, pair.two.mountPoint];
    const latencies: Record<string, number[]> = {};
    const expect = async (what: string, look: () => boolean) => {
      (latencies[what] ??= []).push(await seen(what, look));
    };
    Deno.mkdirSync(`${a}/d`);
    await expect("mkdir", () => exists(`${b}/d`));
    for (let i = 0; i < 30; i++) {
      Deno.writeTextFileSync(`${a}/d/f`, `text ${i}`);
      await expect(
        "data",
        () => exists(`${b}/d/f`) && Deno.readTextFileSync(`${b}/d/f`) === `text ${i}`,
      );
      using open = Deno.openSync(`${b}/d/f`);
      Deno.writeTextFileSync(`${a}/d/f`, `TEXT ${i}`);
      await expect("data in an open file", () => {
        open.seekSync(0, Deno.SeekMode.Start);
        const bytes = new Uint8Array(20);
        const size = open.readSync(bytes) ?? 0;
        return new TextDecoder().decode(bytes.subarray(0, size)) === `TEXT ${i}`;
      });
      Deno.chmodSync(`${a}/d/f`, i % 2 === 0 ? 0o640 : 0o600);
      await expect("attributes", () => mode(`${b}/d/f`) === (i % 2 === 0 ? 0o640 : 0o600));
      equal(exists(`${b}/d/new${i}`), false);
      Deno.writeTextFileSync(`${a}/d/new${i}`, "");
      await expect("a missing name appears", () => exists(`${b}/d/new${i}`));
      const names = () => [...Deno.readDirSync(`${b}/d`)].map((entry) => entry.name);
      await expect("a listing", () => names().includes(`new${i}`));
      Deno.removeSync(`${a}/d/new${i}`);
      await expect("a name goes", () => !exists(`${b}/d/new${i}`));
      await expect("a listing without it", () => !names().includes(`new${i}`));
      Deno.symlinkSync(`to${i}`, `${a}/d/s`);
      await expect(
        "a symlink",
        () => exists(`${b}/d/s`) && Deno.readLinkSync(`${b}/d/s`) === `to${i}`,
      );
      Deno.removeSync(`${a}/d/s`);
      Deno.renameSync(`${a}/d/f`, `${a}/d/g`);
      await expect("a rename", () => exists(`${b}/d/g`) && !exists(`${b}/d/f`));
      Deno.renameSync(`${a}/d/g`, `${a}/d/f`);
      await expect("a rename back", () => exists(`${b}/d/f`) && !exists(`${b}/d/g`));
      Deno.linkSync(`${a}/d/f`, `${a}/d/h`);
      await expect("another link", () => Deno.lstatSync(`${b}/d/f`).nlink === 2);
      Deno.removeSync(`${a}/d/h`);
      await expect("one link less", () => Deno.lstatSync(`${b}/d/f`).nlink === 1);
    }
    for (const [what, list] of Object.entries(latencies)) {
      list.sort((x, y) => x - y);
      const [median, most] = [list[list.length >> 1]!, list.at(-1)!];
      console.log(
        `${what}: seen after ${median.toFixed(1)} ms (median), ${most.toFixed(1)} ms (most)`,
      );
    }
  },
});

Deno.test({
  name: "shared mounts: what is known is answered without a request, for longer than any time-out",
  ignore,
  async fn() {
    await using pair = await SharedPair.start();
    const { one, two } = pair;
    await script(one.mountPoint, "mkdir d; echo text > d/f; ln -s target d/s");
    // Opened before: the kernel asks for permission to open in any case.
    using file = Deno.openSync(`${two.mountPoint}/d/f`);
    const text = async () => {
      const bytes = new Uint8Array(20);
      await file.seek(0, Deno.SeekMode.Start);
      return new TextDecoder().decode(bytes.subarray(0, await file.read(bytes) ?? 0));
    };
    equal(await text(), "text\n");
    await script(
      two.mountPoint,
      "stat d/f; readlink d/s; stat d/missing 2> /dev/null || true; sleep 1.5",
    );
    const stated = "stat -c '%a %h' d/f; readlink d/s; stat d/missing 2>&1 || true";
    const known = await withoutDaemon(two, () => script(two.mountPoint, stated));
    match(known, /^644 1\ntarget\n.*No such file/s);
    equal(await withoutDaemon(two, text), "text\n");
    // The same is asked again once another guest has changed it.
    await script(one.mountPoint, "chmod 600 d/f; touch d/missing");
    await rejects(async () => {
      // The notice is milliseconds away; before it what was is answered.
      const look = () => script(two.mountPoint, "stat d/f d/missing 2> /dev/null || true");
      for (let i = 0; i < 100; i++) await withoutDaemon(two, look);
    }, /the daemon was needed/);
    match(
      await script(two.mountPoint, "stat -c '%a %n' d/f d/missing"),
      /^600 d\/f\n644 d\/missing$/,
    );
  },
});

Deno.test({
  name:
    "shared mounts: own changes do not cost what is known: attributes after chmod, names after create",
  ignore,
  async fn() {
    await using pair = await SharedPair.start();
    const { one } = pair;
    await script(one.mountPoint, "mkdir d; touch d/x d/y; stat d/x d/y d/z 2>/dev/null || true");
    // Past the time in which a notice would be repeated.
    await script(one.mountPoint, "sleep 0.5; stat d/x d/y d/z d/w d/n 2>/dev/null || true");
    await script(
      one.mountPoint,
      "chmod 600 d/x; touch d/n; mv d/y d/w; ln d/x d/l; stat d/x d/n d/w d",
    );
    const looks = "stat -c '%a %h' d/x; ls -d d/n d/w; stat d/z 2>&1 || true";
    match(
      await withoutDaemon(one, () => script(one.mountPoint, looks)),
      /^600 2\nd\/n\nd\/w\n.*No such file/s,
    );
  },
});

function storm(mountPoint: string, seed: number, seconds: number): Promise<string> {
  // Each round: some names in three directories, made, renamed, replaced, linked, listed, read and removed.
  return script(
    mountPoint,
    `RANDOM=${seed}; end=$((SECONDS + ${seconds})); n=0; d=(. p q)
    while [ $SECONDS -lt $end ]; do
      x=\${d[RANDOM % 3]}/n$((RANDOM % 8)); y=\${d[RANDOM % 3]}/n$((RANDOM % 8))
      case $((RANDOM % 8)) in
        0) echo $n > $x;; 1) mv -f $x $y;; 2) rm -f $x;; 3) [ -e $x ];; 4) echo \${d[RANDOM % 3]}/*;;
        5) read line < $x;; 6) ln $x $y;; 7) echo $n >> $x;;
      esac > /dev/null 2>&1 || true
      n=$((n + 1))
    done; echo $n`,
  );
}

Deno.test({
  name: "shared mounts: storms of changes from both sides end, and both see the same afterwards",
  ignore,
  async fn() {
    const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 30000));
    console.log(
      `replay: SEED=${seed} deno test -A --filter storms tests/mount/shared_mount_test.ts`,
    );
    await using pair = await SharedPair.start();
    const mounts = [pair.one, pair.two];
    await script(pair.one.mountPoint, "mkdir p q");
    const storms = mounts.flatMap(({ mountPoint }, i) =>
      [0, 1].map((j) => storm(mountPoint, seed + 2 * i + j, 6))
    );
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("a storm hangs")), 60_000);
    });
    const counts = await Promise.race([Promise.all(storms), late]);
    clearTimeout(timer);
    for (const count of counts) ok(Number(count) > 20, `${counts}`);
    const tree = (path: string) =>
      script(
        path,
        "for f in $(find . -type f | sort); do stat -c '%n %s %h %a' $f; cat $f; done; ls -R",
      );
    const there = await tree(pair.one.share);
    let last = "";
    const deadline = performance.now() + 5000;
    for (const { mountPoint } of mounts) {
      while ((last = await tree(mountPoint)) !== there && performance.now() < deadline) {
        /* again */
      }
      equal(last, there);
    }
  },
});

Deno.test({
  name: "shared mounts: unmounted in the midst of changes from the other side; busy ones end later",
  ignore,
  async fn() {
    await using pair = await SharedPair.start();
    const { one, two } = pair;
    await script(one.mountPoint, "mkdir p q");
    const storms = storm(one.mountPoint, 1, 4);
    using open = Deno.openSync(`${two.mountPoint}/late`, { create: true, write: true, read: true });
    const mine = storm(two.mountPoint, 2, 2).catch(() => "");
    await mine;
    two.signal("SIGINT");
    while (isMounted(two.mountPoint)) await new Promise((r) => setTimeout(r, 10));
    open.writeSync(new TextEncoder().encode("late"));
    open.close();
    const { code, stderr } = await two.ended();
    equal(code, 0, stderr);
    await storms;
    equal(Deno.readTextFileSync(`${one.share}/late`), "late");
  },
});

Deno.test({
  name:
    "shared mounts: killed while a notice waits for a process that waits for the daemon: nobody hangs",
  ignore,
  async fn() {
    await using pair = await SharedPair.start();
    const { one, two } = pair;
    await script(one.mountPoint, "mkdir d");
    await script(two.mountPoint, "ls d; stat d/x 2> /dev/null || true");
    const serving = servingPid(two.subject.pid!);
    Deno.kill(serving, "SIGSTOP");
    try {
      // It holds the directory's lock until it is answered.
      const touch = new Deno.Command("touch", {
        args: [`${two.mountPoint}/d/y`],
        stderr: "piped",
      }).spawn();
      await seen("touch waits", () => /fuse|request/.test(wchan(`/proc/${touch.pid}`)));
      await script(one.mountPoint, "touch d/x");
      await seen(
        "the notice waits",
        () => threads(two.pid).some((task) => wchan(task).includes("inval")),
      );
      two.signal("SIGKILL");
      const { success, stderr } = await touch.output();
      equal(success, false);
      match(new TextDecoder().decode(stderr), /connection abort|not connected/);
      await two.ended();
      await seen("the end of all threads", () => !exists(`/proc/${two.pid}`));
    } finally {
      Deno.kill(serving, "SIGCONT");
    }
    await rejects(script("/", `stat ${two.mountPoint}`), /not connected/);
  },
});

function threads(pid: number): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => `/proc/${pid}/task/${name}`);
}

/** Where in the kernel a thread sleeps. */
function wchan(task: string): string {
  return Deno.readTextFileSync(`${task}/wchan`);
}

Deno.test({
  name: "shared mounts: programs: git, tar and a C compiler on one, read on the other",
  ignore,
  async fn() {
    await using pair = await SharedPair.start("--xattr");
    const { one, two } = pair;
    await script(
      one.mountPoint,
      `git init -q -b main r; cd r; seq 1000 > n; for i in $(seq 20); do mkdir d$i; echo $i > d$i/f; done
      git add .; git -c user.name=t -c user.email=t@t commit -qm first; git status --short; tar -cf ../x.tar .`,
    );
    equal(await script(two.mountPoint, "cd r; git status --short; git fsck 2>&1 | head -1"), "");
    await script(two.mountPoint, "mkdir t; tar -xf x.tar -C t; diff -r r t");
    equal(await script(one.mountPoint, "diff -r r t; git -C t log --oneline | wc -l"), "1");
    deepEqual(await script(one.mountPoint, "ls"), await script(two.mountPoint, "ls"));
  },
});
