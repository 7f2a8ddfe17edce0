/**
 * `virtiofsd-ts demo`: the daemon at work. A sample directory is served; guests mount it, read and write;
 * what they wrote is looked at on the host.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { flag, option } from "@optique/core/primitives";
import { choice } from "@optique/core/valueparser";
import { DaemonProcess } from "../demo/daemon_process.ts";
import type { GuestDaxMode } from "../guest/client/dax_mode.ts";
import type { OpcodeTraffic } from "../guest/client/traffic.ts";
import { runCoherentGuests } from "../demo/coherent_guests.ts";
import { runInProcessGuest } from "../demo/in_process_guest.ts";
import { arrived, makeSample, taskFor } from "../demo/sample.ts";
import { findUml, runUmlGuest, UML_PACKAGES } from "../demo/uml_guest.ts";
import { EXIT, printError, printOut } from "./exit.ts";
import { anyOf, type CommandText, lastOf, parseCommand } from "./parse.ts";
import { selfCommand } from "./self_command.ts";

const TAG = "demo";

const parser = object({
  guest: lastOf(option("--guest", choice(["auto", "program", "uml"], { metavar: "WHICH" }), {
    description:
      message`program: a small guest inside this program. uml: a real Linux kernel (User Mode Linux). auto (the default): both, uml if it is installed.`,
  })),
  dax: lastOf(option("--dax", choice(["never", "inode", "always"], { metavar: "MODE" }), {
    description:
      message`Let the small guest map files into a DAX window: never (the default), inode (the large ones), always.`,
  })),
  keep: anyOf(flag("--keep", { description: message`Leave the sample directory behind.` })),
});

const TEXT: CommandText = {
  name: "demo",
  synopsis: "[OPTION]...",
  brief: message`Serve a sample directory and let guests use it.`,
  examples: message`virtiofsd-ts demo${lineBreak()}virtiofsd-ts demo --guest program --dax always`,
};

/** Runs the demo and returns 0 if all of it worked, else 1. */
export async function runDemo(args: readonly string[]): Promise<number> {
  const options = parseCommand(parser, TEXT, args);
  const guest = options.guest ?? "auto";
  const uml = guest === "program" ? null : findUml();
  if (guest === "uml" && uml === null) {
    printError(`There is no User Mode Linux here: apt-get install ${UML_PACKAGES}`);
    return EXIT.FAILED;
  }
  const directory = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-demo-" });
  const share = `${directory}/share`;
  const socketPath = `${directory}/demo.sock`;
  try {
    makeSample(share);
    heading(`The daemon serves ${share}`);
    const self = selfCommand();
    const daemonArgs = ["serve", "--shared-dir", share, "--socket-path", socketPath];
    // Its log says when it listens, whatever RUST_LOG is here.
    daemonArgs.push("--tag", TAG, "--keep-listening", "--log-level", "info");
    const dax = options.dax ?? "never";
    if (dax === "always") daemonArgs.push("--dax", "always");
    const daemon = await DaemonProcess.start(
      self.program,
      [...self.args, ...daemonArgs],
      speaker("daemon"),
    );
    let good = true;
    try {
      if (guest !== "uml") good = await demoProgramGuest(share, socketPath, dax) && good;
      if (uml !== null) {
        heading("A real Linux kernel as the guest (User Mode Linux)");
        const task = taskFor("linux");
        good = await runUmlGuest(uml, directory, socketPath, TAG, task, speaker("guest")) && good;
        good = verify(arrived(share, task), share, task.writeName) && good;
      } else if (guest === "auto") {
        heading(`For a real Linux kernel as the guest: apt-get install ${UML_PACKAGES}`);
      }
    } finally {
      const code = await daemon.stop();
      good = verdict(code === EXIT.OK, `the daemon ended with exit code ${code}`) && good;
    }
    if (guest !== "uml") good = await demoCoherentGuests(share, directory) && good;
    printVmLines();
    printOut(good ? "\nAll of it worked." : "\nNot all of it worked.");
    return good ? EXIT.OK : EXIT.FAILED;
  } catch (error) {
    printError(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT.FAILED;
  } finally {
    if (options.keep) printOut(`Left behind: ${directory}`);
    else Deno.removeSync(directory, { recursive: true });
  }
}

async function demoProgramGuest(
  share: string,
  socketPath: string,
  dax: GuestDaxMode,
): Promise<boolean> {
  heading("A guest inside this program: vhost-user, virtqueue and FUSE, no virtual machine");
  const task = taskFor("program");
  try {
    const say = speaker("guest");
    const { good, traffic } = await runInProcessGuest(socketPath, TAG, task, dax, say);
    const verified = verify(good && arrived(share, task), share, task.writeName);
    heading("What went over the ring");
    printOut(trafficTable(traffic));
    return verified;
  } catch (error) {
    speaker("guest")(error instanceof Error ? error.message : String(error));
    return verify(false, share, task.writeName);
  }
}

/** Two daemons of one directory, a guest on each. */
async function demoCoherentGuests(share: string, directory: string): Promise<boolean> {
  heading("Two guests that share versions, each with a daemon of its own (--cache shared)");
  const self = selfCommand();
  const socketPaths = [`${directory}/a.sock`, `${directory}/b.sock`] as const;
  const daemons: DaemonProcess[] = [];
  try {
    for (const socketPath of socketPaths) {
      const args = ["serve", "--shared-dir", share, "--socket-path", socketPath];
      args.push("--cache", "shared", "--version-table", `${directory}/versions`);
      args.push("--version-slots", "1024", "--log-level", "info");
      daemons.push(await DaemonProcess.start(self.program, [...self.args, ...args], () => {}));
    }
    const tell = (who: string, line: string) => speaker(`${who}`)(line);
    const good = await runCoherentGuests(socketPaths, taskFor("program"), tell);
    return verdict(good, "each change was seen by the other guest at its next call");
  } finally {
    for (const daemon of daemons) await daemon.stop();
  }
}

/** A line per opcode: how many requests, and how long one took from sending to the reply. */
function trafficTable(traffic: readonly OpcodeTraffic[]): string {
  const row = (name: string, count: string, errors: string, each: string) =>
    `  ${name.padEnd(14)}${count.padStart(9)}${errors.padStart(8)}${each.padStart(11)}`;
  return [
    row("request", "number", "errors", "µs each"),
    ...traffic.map(({ name, requests, errors, totalMs }) => {
      const each = (totalMs * 1000 / requests).toFixed(1);
      return row(name, `${requests}`, errors === 0 ? "" : `${errors}`, each);
    }),
  ].join("\n");
}

function verify(good: boolean, share: string, name: string): boolean {
  return verdict(good, `${share}/${name} ${good ? "is there, as written" : "is not as written"}`);
}

function verdict(good: boolean, what: string): boolean {
  printOut(`  host   │ ${good ? "✔" : "✘"} ${what}`);
  return good;
}

function heading(text: string): void {
  printOut(`\n${text}`);
}

function speaker(who: string): (line: string) => void {
  return (line) => printOut(`  ${who.padEnd(6)} │ ${line}`);
}

function printVmLines(): void {
  printOut(`
Your own virtual machine (disk.qcow2 is its disk):
  virtiofsd-ts serve --shared-dir DIR --socket-path /tmp/share.sock
  qemu-system-x86_64 -accel kvm -cpu host -smp 2 -m 1G -drive file=disk.qcow2,if=virtio \\
    -object memory-backend-memfd,id=mem,size=1G,share=on -numa node,memdev=mem \\
    -chardev socket,id=c0,path=/tmp/share.sock -device vhost-user-fs-pci,chardev=c0,tag=share
  and in the guest: mount -t virtiofs share /mnt`);
}
