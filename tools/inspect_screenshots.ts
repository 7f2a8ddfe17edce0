/**
 * Makes the pictures of docs/inspect.md: real daemons at work, `inspect --html` beside them, and headless Chromium.
 *
 * Run: `deno run -A tools/inspect_screenshots.ts` with `chromium` in PATH; writes docs/inspect-window.png and docs/inspect-versions.png.
 *
 * @module
 */

import { DaemonProcess } from "../src/demo/daemon_process.ts";
import { Guest } from "../src/guest/guest.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;
const DOCS = new URL("../docs/", import.meta.url).pathname;
const MIB = 1024 ** 2;

const directory = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "vm-" });
const share = `${directory}/share`;
const table = `${directory}/versions`;

function self(...args: string[]): string[] {
  return ["run", "-A", "--quiet", MAIN, ...args];
}

function startDaemon(socket: string, ...args: string[]): Promise<DaemonProcess> {
  const words = ["serve", "--shared-dir", share, "--socket-path", socket, ...args];
  return DaemonProcess.start(Deno.execPath(), self(...words), () => {});
}

/** `hidden`: sections that are left out of the picture. */
async function picture(
  name: string,
  args: string[],
  hidden: string,
  size: string,
): Promise<void> {
  const page = `${directory}/${name}.html`;
  await succeed(Deno.execPath(), self("inspect", ...args, "--html", page));
  const style = `<style>${hidden} { display: none } h2 { border: 0; margin-top: 0 }</style></head>`;
  Deno.writeTextFileSync(
    page,
    Deno.readTextFileSync(page).replace("</head>", style).replaceAll("<details>", "<details open>"),
  );
  await succeed("chromium", [
    ...["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
    ...[`--user-data-dir=${directory}/profile`, `--window-size=${size}`],
    ...[`--screenshot=${DOCS}${name}.png`, `file://${page}`],
  ]);
}

async function succeed(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
}

/** Some files of different sizes, read and written in pieces through a window that all of them do not fit. */
async function window(): Promise<void> {
  const sizes = { "model.bin": 300, "index.db": 96, "photos.tar": 220, "notes.txt": 3, "log": 24 };
  for (const [name, size] of Object.entries(sizes)) {
    const file = Deno.openSync(`${share}/${name}`, { create: true, write: true });
    file.truncateSync(size * MIB);
    file.close();
  }
  const socket = `${directory}/window.sock`;
  const daemon = await startDaemon(socket, "--dax", "always");
  {
    await using guest = await Guest.connect({ socketPath: socket, cache: "always", dax: "always" });
    const piece = new Uint8Array(64 * 1024);
    const read = (name: string, from: number, to: number) => {
      using file = guest.openSync(`/${name}`);
      for (let at = from; at < to; at += 2) {
        file.seekSync(at * MIB, Deno.SeekMode.Start);
        file.readSync(piece);
      }
    };
    read("model.bin", 0, 300);
    read("photos.tar", 0, 120);
    await pause(2000);
    read("index.db", 0, 96);
    for (let i = 0; i < 120; i++) {
      const at = Math.floor(Math.random() * 110) * 2;
      read("photos.tar", at, at + 2);
    }
    await pause(1200);
    read("notes.txt", 0, 3);
    using log = guest.openSync("/log", { write: true });
    for (let at = 0; at < 24; at += 2) {
      log.seekSync(at * MIB, Deno.SeekMode.Start);
      log.writeSync(piece);
    }
    await picture(
      "inspect-window",
      ["--socket-path", socket],
      ".requests, .queues, .inodes",
      "1180,900",
    );
  }
  await daemon.stop().catch(() => {});
}

/** Two guests with a daemon each, of which both look at and change the same files. */
async function versions(): Promise<void> {
  const sockets = [`${directory}/a.sock`, `${directory}/b.sock`];
  const daemons = await Promise.all(
    sockets.map((socket) =>
      startDaemon(socket, "--cache", "shared", "--version-table", table, "--version-slots", "4096")
    ),
  );
  {
    await using a = await Guest.connect({ socketPath: sockets[0]!, cache: "shared" });
    await using b = await Guest.connect({ socketPath: sockets[1]!, cache: "shared" });
    a.mkdirSync("/src");
    for (let i = 0; i < 6; i++) a.writeTextFileSync(`/src/part-${i}.c`, `int part_${i};\n`);
    for (let i = 0; i < 40; i++) {
      a.writeTextFileSync(`/src/part-${i % 4}.c`, `// ${i}\n`, { append: true });
      if (i % 3 === 0) b.writeTextFileSync("/build.log", `compiled ${i}\n`, { append: true });
      for (let part = 0; part < 6; part++) b.statSync(`/src/part-${part}.c`);
      a.statSync("/build.log");
    }
    const hidden =
      ".note, body > h2:not(:has(+ .versions)), body > dl, .requests, .window, .queues, .inodes";
    await picture("inspect-versions", ["--version-table", table], hidden, "900,640");
  }
  await Promise.all(daemons.map((daemon) => daemon.stop().catch(() => {})));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) {
  Deno.mkdirSync(share);
  Deno.mkdirSync(DOCS, { recursive: true });
  try {
    await window();
    await versions();
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}
