/**
 * Other processes for the workloads. Perl is a part of every Debian (perl-base is essential), starts in
 * milliseconds and makes the plain system calls: it is the second, third and fourth process here.
 *
 * @module
 */

/** Who a process runs as. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

/** How a process ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export async function run(command: string, args: readonly string[], cwd = "/"): Promise<Ended> {
  const output = await new Deno.Command(command, {
    args: [...args],
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

/** Runs a command and throws unless it ends with 0; returns its standard output. */
export async function mustRun(command: string, args: readonly string[], cwd = "/") {
  const { code, stdout, stderr } = await run(command, args, cwd);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}

const PRELUDE =
  "use strict; use POSIX (); use Fcntl qw(:DEFAULT :flock :mode :seek); $| = 1; umask 022;";

function perlArgs(script: string, args: readonly string[], user?: User): string[] {
  // Groups first, the user last: afterwards the process may no longer change them.
  const become = user === undefined
    ? ""
    : `$) = "${user.gid} ${[user.gid, ...user.groups ?? []].join(" ")}"; $( = ${user.gid};` +
      ` POSIX::setuid(${user.uid}) or die "setuid: $!";`;
  return ["-e", `${PRELUDE} ${become} ${script}`, ...args];
}

/** Runs a perl script, as root or as another user; arguments are in `@ARGV`. */
export async function perl(script: string, args: readonly string[] = [], user?: User) {
  return await run("perl", perlArgs(script, args, user));
}

/** Runs a perl script and throws unless it ends with 0; returns its standard output. */
export async function mustPerl(script: string, args: readonly string[] = [], user?: User) {
  const { code, stdout, stderr } = await perl(script, args, user);
  if (code !== 0) throw new Error(`perl as ${user?.uid ?? 0} ended with ${code}: ${stderr}`);
  return stdout;
}

/** A perl process that is spoken to line by line while it runs. */
export class PerlPeer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #pending = "";

  constructor(script: string, args: readonly string[] = [], user?: User) {
    this.#child = new Deno.Command("perl", {
      args: perlArgs(script, args, user),
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Sends a line. */
  async say(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(line + "\n"));
  }

  /** The next line that the process prints. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#pending.indexOf("\n");
      if (end >= 0) {
        const line = this.#pending.slice(0, end);
        this.#pending = this.#pending.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("The perl process ended without an answer");
      this.#pending += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel();
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It had ended by itself.
    }
    await this.#child.status;
  }
}
