/**
 * Asks a C compiler for the sizes, offsets and constants that `src/wire/` states, and compares.
 *
 *     deno run -A tools/layout_check.ts                        what this machine's headers say
 *     deno run -A tools/layout_check.ts --include DIR          headers of another kernel
 *     deno run -A tools/layout_check.ts --include DIR --write "linux-libc-dev 7.2.13-1"
 *                                                              records the answers in tests/wire/layouts.json
 *
 * @module
 */

import { architectureFacts, type HeaderFact, headerFacts } from "../tests/wire/header_names.ts";

/** What a compiler answered, by question. Questions it does not understand (older headers) are missing. */
export type Answers = Readonly<Record<string, number>>;

/** tests/wire/layouts.json */
export interface RecordedLayouts {
  /** Package and version of the headers that were asked. */
  readonly headers: string;
  readonly answers: Answers;
}

/** Where the answers of the newest headers are kept. */
export const RECORDED_LAYOUTS: URL = new URL("../tests/wire/layouts.json", import.meta.url);

const HEADERS = [
  "stddef.h",
  "stdint.h",
  "stdio.h",
  "dirent.h",
  "errno.h",
  "fcntl.h",
  "limits.h",
  "poll.h",
  "sched.h",
  "signal.h",
  "time.h",
  "sys/epoll.h",
  "sys/eventfd.h",
  "sys/file.h",
  "sys/inotify.h",
  "sys/mman.h",
  "sys/mount.h",
  "sys/resource.h",
  "sys/socket.h",
  "sys/stat.h",
  "sys/statfs.h",
  "sys/statvfs.h",
  "sys/syscall.h",
  "sys/uio.h",
  "sys/wait.h",
  "asm/ioctls.h",
  "linux/audit.h",
  "linux/capability.h",
  "linux/falloc.h",
  "linux/fanotify.h",
  "linux/filter.h",
  "linux/fs.h",
  "linux/fuse.h",
  "linux/limits.h",
  "linux/magic.h",
  "linux/mount.h",
  "linux/prctl.h",
  "linux/seccomp.h",
  "linux/virtio_config.h",
  "linux/virtio_fs.h",
  "linux/virtio_ids.h",
  "linux/virtio_ring.h",
];

const PROLOGUE = "#define _GNU_SOURCE\n" +
  HEADERS.map((header) => `#include <${header}>\n`).join("") +
  '#define ASK(n, e) printf("%d %lld\\n", n, (long long)(e))\nint main(void) {\n';
const PROLOGUE_LINES = PROLOGUE.split("\n").length - 1;

/** Whether there is a compiler with the kernel's headers. */
export async function haveCompiler(): Promise<boolean> {
  try {
    return (await compile(PROLOGUE + "return 0; }\n", ["-fsyntax-only"])).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Puts the questions to the compiler. `include` is searched before the machine's own headers. */
export async function askCompiler(
  questions: readonly string[],
  include: string | null = null,
): Promise<Answers> {
  const flags = include === null ? [] : ["-I", include];
  const all = [...new Set(questions)];
  // One line per question, so that the compiler's complaints name those that these headers cannot answer.
  const checked = await compile(program(all, new Set()), [
    ...flags,
    "-fsyntax-only",
    "-fmax-errors=0",
  ]);
  const unknown = new Set<number>();
  for (const match of checked.stderr.matchAll(/^<stdin>:(\d+):.*error:/gm)) {
    unknown.add(Number(match[1]) - PROLOGUE_LINES - 1);
  }
  const executable = await Deno.makeTempFile({ prefix: "layout-check-" });
  try {
    const compiled = await compile(program(all, unknown), [...flags, "-o", executable]);
    if (!compiled.success) {
      throw new Error(`The layout program does not compile:\n${compiled.stderr}`);
    }
    const { stdout } = await new Deno.Command(executable).output();
    const answers: Record<string, number> = {};
    for (const line of new TextDecoder().decode(stdout).trim().split("\n")) {
      const [index, value] = line.split(" ");
      answers[all[Number(index)]!] = Number(value);
    }
    return answers;
  } finally {
    await Deno.remove(executable);
  }
}

function program(questions: readonly string[], without: ReadonlySet<number>): string {
  const lines = questions.map((question, i) =>
    without.has(i) ? "" : `ASK(${i}, ${expression(question)});`
  );
  return `${PROLOGUE}${lines.join("\n")}\nreturn 0; }\n`;
}

function expression(question: string): string {
  const size = /^sizeof (\w+)$/.exec(question);
  if (size !== null) return `sizeof(struct ${size[1]})`;
  const member = /^(\w+)\.(\w+)$/.exec(question);
  if (member !== null) return `offsetof(struct ${member[1]}, ${member[2]})`;
  return question;
}

async function compile(
  source: string,
  flags: readonly string[],
): Promise<{ success: boolean; stderr: string }> {
  const child = new Deno.Command("cc", {
    args: [...flags, "-x", "c", "-"],
    env: { LC_ALL: "C" },
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  const { success, stderr } = await child.output();
  return { success, stderr: new TextDecoder().decode(stderr) };
}

/** Where our numbers differ from the answers. Flags of 32 bits compare as bits, whatever their sign. */
export function differences(facts: readonly HeaderFact[], answers: Answers): string[] {
  const list: string[] = [];
  for (const { ours, question, value } of facts) {
    const answer = answers[question];
    if (answer === undefined || answer === value) continue;
    if (value < 0 && answer === value + 2 ** 32) continue;
    list.push(`${ours} is ${value}; the headers say ${question} = ${answer}`);
  }
  return list;
}

if (import.meta.main) {
  const { values } = await import("node:util").then(({ parseArgs }) =>
    parseArgs({ options: { include: { type: "string" }, write: { type: "string" } } })
  );
  const facts = headerFacts();
  const machine = values.include === undefined ? architectureFacts() : [];
  const asked = [...facts, ...machine];
  const answers = await askCompiler(asked.map((fact) => fact.question), values.include ?? null);
  const unanswered = asked.filter((fact) => answers[fact.question] === undefined);
  const wrong = differences(asked, answers);
  console.log(
    `${asked.length} numbers: ${wrong.length} differ, ${unanswered.length} not in these headers`,
  );
  for (const line of wrong) console.log(line);
  for (const { question } of unanswered) console.log(`not in these headers: ${question}`);
  if (values.write !== undefined) {
    const recorded: RecordedLayouts = { headers: values.write, answers };
    await Deno.writeTextFile(RECORDED_LAYOUTS, JSON.stringify(recorded, null, 2) + "\n");
  }
  if (wrong.length > 0) Deno.exit(1);
}
