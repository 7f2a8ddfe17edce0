import assert from "node:assert/strict";
import { makeStartCode } from "../../tools/compile.ts";
import { EM } from "../../tools/elf.ts";
import type { StartCodePlan } from "../../tools/start_code/start_code.ts";
import { TempTree } from "../support/temp_tree.ts";
import { run } from "./executable.ts";

const PLAN: StartCodePlan = {
  address: 0x5dd2000,
  entry: 0x1e04000,
  environSlot: 0x5d68c88,
  setenvSlot: 0x5d68c48,
  name: "program",
  denoArgs: ["run", "-A", "--ext=js"],
  dropPrefixes: ["DENO_", "NODE_OPTIONS="],
  settings: { DENO_DIR: "/nowhere" },
  programSize: 0x12345678,
};

/** An assembler for each machine, and what its listing must begin with. */
const ASSEMBLERS = [
  { machine: EM.X86_64, tools: "x86_64-linux-gnu", syntax: ".intel_syntax noprefix" },
  { machine: EM.AARCH64, tools: "aarch64-linux-gnu", syntax: "" },
] as const;

async function isThere(program: string): Promise<boolean> {
  try {
    return (await run(program, ["--version"], { clearEnv: false })).code === 0;
  } catch {
    return false;
  }
}

for (const { machine, tools, syntax } of ASSEMBLERS) {
  const present = await isThere(`${tools}-as`);
  Deno.test({
    name: `the start-up code is what ${tools}-as makes of its listing`,
    ignore: !present, // binutils for this machine are not installed
    fn: async () => {
      using tree = new TempTree();
      for (const argCount of [1, 9, 41]) {
        const denoArgs = Array.from({ length: argCount }, (_, index) => `--argument-${index}`);
        const { code, listing } = makeStartCode(machine, { ...PLAN, denoArgs });
        const source = tree.file("code.s", `${syntax}\n.text\n${listing}`);
        const [object, binary] = [tree.path("code.o"), tree.path("code.bin")];
        const options = { clearEnv: false };
        const assembled = await run(`${tools}-as`, [source, "-o", object], options);
        assert.equal(assembled.code, 0, assembled.stderr);
        const copy = ["-O", "binary", "-j", ".text", object, binary];
        const copied = await run(`${tools}-objcopy`, copy, options);
        assert.equal(copied.code, 0, copied.stderr);
        assert.deepEqual(Deno.readFileSync(binary), code);
      }
    },
  });
}

for (const { machine } of ASSEMBLERS) {
  Deno.test(`makeStartCode(${machine}) refuses what it cannot do`, () => {
    const make = (change: Partial<StartCodePlan>) => makeStartCode(machine, { ...PLAN, ...change });
    assert.throws(() => make({ denoArgs: ["run", "-A"] }), /the stack must stay aligned/);
    assert.throws(() => make({ programSize: 0 }), /Cannot embed a program of 0 bytes/);
    assert.throws(() => make({ programSize: 2 ** 31 }), /Cannot embed a program/);
    assert.throws(() => make({ name: "a\0b" }), /Cannot store a string with a NUL/);
  });
}

Deno.test("makeStartCode() names the machines it knows", () => {
  assert.throws(() => makeStartCode(243, PLAN), /ELF machine 243: only x86-64 and aarch64/);
});
