/**
 * The start-up code for aarch64. `start_code.ts` says what it does.
 *
 * At entry: sp points at argc, x0 holds the loader's exit handler, which deno's entry wants back.
 * Kept throughout: x19 = the stack at entry, x20 = the exit handler, w23 = the bundle's descriptor.
 *
 * @module
 */

import { CodeBuilder, cStrings, type Reference } from "./code_builder.ts";
import {
  checkPlan,
  FAILURE_MESSAGE,
  FD_MIN,
  FD_PATH_PREFIX,
  LINUX,
  type StartCode,
  type StartCodePlan,
} from "./start_code.ts";

/** System call numbers of aarch64. */
const SYS = {
  CLOSE: 57,
  EXIT_GROUP: 94,
  FCNTL: 25,
  MEMFD_CREATE: 279,
  MMAP: 222,
  WRITE: 64,
} as const;

/** The four bytes of an instruction. */
function word(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
}

/** An instruction with a distance in it, counted in `unit` bytes and placed by `place`. */
function reach(
  target: string,
  opcode: number,
  bits: number,
  unit: number,
  place: (distance: number) => number,
): Reference {
  return {
    target,
    width: 4,
    patch: (code, at, distance) => {
      const limit = 2 ** (bits - 1);
      const units = distance / unit;
      if (!Number.isInteger(units) || units < -limit || units >= limit) {
        throw new RangeError(`Cannot reach "${target}" over ${distance} bytes`);
      }
      code.setUint32(at, (opcode | place(units)) >>> 0, true);
    },
  };
}

/** Conditional branches, cbz, cbnz and literal loads: 19 bits of words, at bit 5. */
function reach19(target: string, opcode: number): Reference {
  return reach(target, opcode, 19, 4, (words) => (words & 0x7ffff) << 5);
}

/** tbnz: 14 bits of words, at bit 5. */
function reach14(target: string, opcode: number): Reference {
  return reach(target, opcode, 14, 4, (words) => (words & 0x3fff) << 5);
}

/** b and bl: 26 bits of words. */
function reach26(target: string, opcode: number): Reference {
  return reach(target, opcode, 26, 4, (words) => words & 0x3ffffff);
}

/** `adr register, target`: 21 bits of bytes, the lowest two at bit 29. */
function adr(c: CodeBuilder, register: number, target: string): void {
  const place = (bytes: number) => ((bytes & 3) << 29) | (((bytes >> 2) & 0x7ffff) << 5);
  c.op(`adr x${register}, ${target}`, reach(target, 0x10000000 | register, 21, 1, place));
}

/** `mov register, value` for a value of 16 bits. */
function mov(c: CodeBuilder, register: number, value: number): void {
  c.op(`mov x${register}, ${value}`, ...word(0xd2800000 | (value << 5) | register));
}

/** `mov x8, number; svc 0`. The kernel overwrites x0 only. */
function syscall(c: CodeBuilder, number: number): void {
  mov(c, 8, number);
  c.op("svc 0", ...word(0xd4000001));
}

/** Leaves in x16 the address of a GOT slot, and in x17 what is in it. */
function loadSlot(c: CodeBuilder, distance: string): void {
  c.op(`ldr x16, ${distance}`, reach19(distance, 0x58000010));
  adr(c, 17, "start");
  c.op("add x16, x16, x17", ...word(0x8b110210));
  c.op("ldr x17, [x16]", ...word(0xf9400211));
}

/** Walks environ once: x9 reads, x10 writes what is kept. */
function dropVariables(c: CodeBuilder): void {
  loadSlot(c, "environ_distance");
  c.op("ldr x9, [x17]", ...word(0xf9400229));
  c.op("cbz x9, set_variables", reach19("set_variables", 0xb4000009));
  c.op("mov x10, x9", ...word(0xaa0903ea));
  c.label("variable");
  c.op("ldr x11, [x9], 8", ...word(0xf840852b));
  c.op("cbz x11, variables_end", reach19("variables_end", 0xb400000b));
  adr(c, 12, "drop_prefixes");
  c.label("prefix"); // x12: the next prefix, an empty one ends the list
  c.op("ldrb w13, [x12]", ...word(0x3940018d));
  c.op("cbz w13, keep", reach19("keep", 0x3400000d));
  c.op("mov x14, x11", ...word(0xaa0b03ee));
  c.label("compare");
  c.op("ldrb w13, [x12], 1", ...word(0x3840158d));
  c.op("cbz w13, variable", reach19("variable", 0x3400000d)); // the whole prefix matched
  c.op("ldrb w15, [x14], 1", ...word(0x384015cf));
  c.op("cmp w13, w15", ...word(0x6b0f01bf));
  c.op("b.eq compare", reach19("compare", 0x54000000));
  c.label("rest_of_prefix");
  c.op("ldrb w13, [x12], 1", ...word(0x3840158d));
  c.op("cbnz w13, rest_of_prefix", reach19("rest_of_prefix", 0x3500000d));
  c.op("b prefix", reach26("prefix", 0x14000000));
  c.label("keep");
  c.op("str x11, [x10], 8", ...word(0xf800854b));
  c.op("b variable", reach26("variable", 0x14000000));
  c.label("variables_end"); // NULL ends the list, and fills the slots set free
  c.op("str xzr, [x10], 8", ...word(0xf800855f));
  c.op("cmp x10, x9", ...word(0xeb09015f));
  c.op("b.lo variables_end", reach19("variables_end", 0x54000003));
}

/** Calls setenv(name, value, 1) for each pair of the list at `settings`. */
function setVariables(c: CodeBuilder): void {
  c.label("set_variables");
  adr(c, 21, "settings");
  c.label("setting");
  c.op("ldrb w9, [x21]", ...word(0x394002a9));
  c.op("cbz w9, make_file", reach19("make_file", 0x34000009));
  c.op("mov x0, x21", ...word(0xaa1503e0));
  c.op("bl skip_string", reach26("skip_string", 0x94000000));
  c.op("mov x1, x21", ...word(0xaa1503e1));
  c.op("bl skip_string", reach26("skip_string", 0x94000000));
  loadSlot(c, "setenv_distance"); // spoils neither x0 nor x1
  mov(c, 2, 1);
  c.op("blr x17", ...word(0xd63f0220));
  c.op("b setting", reach26("setting", 0x14000000));
  c.label("skip_string");
  c.op("ldrb w9, [x21], 1", ...word(0x384016a9));
  c.op("cbnz w9, skip_string", reach19("skip_string", 0x35000009));
  c.op("ret", ...word(0xd65f03c0));
}

/** Leaves the descriptor of a memfd with the bundle in w23. */
function makeFile(c: CodeBuilder): void {
  c.label("make_file");
  adr(c, 0, "name");
  mov(c, 1, LINUX.MFD_CLOEXEC | LINUX.MFD_NOEXEC_SEAL);
  syscall(c, SYS.MEMFD_CREATE);
  c.op(`cmn w0, ${LINUX.EINVAL}`, ...word(0x3100001f | (LINUX.EINVAL << 10))); // kernel before 6.3
  c.op("b.ne created", reach19("created", 0x54000001));
  adr(c, 0, "name");
  mov(c, 1, LINUX.MFD_CLOEXEC);
  syscall(c, SYS.MEMFD_CREATE);
  c.label("created");
  c.op("tbnz w0, 31, fail", reach14("fail", 0x37f80000));
  c.op("mov w23, w0", ...word(0x2a0003f7));
  adr(c, 21, "program");
  c.op("ldr x22, program_size", reach19("program_size", 0x58000016));
  c.label("write_rest");
  c.op("mov w0, w23", ...word(0x2a1703e0));
  c.op("mov x1, x21", ...word(0xaa1503e1));
  c.op("mov x2, x22", ...word(0xaa1603e2));
  syscall(c, SYS.WRITE);
  c.op("cmp x0, 0", ...word(0xf100001f));
  c.op("b.le fail", reach19("fail", 0x5400000d));
  c.op("add x21, x21, x0", ...word(0x8b0002b5));
  c.op("sub x22, x22, x0", ...word(0xcb0002d6));
  c.op("cbnz x22, write_rest", reach19("write_rest", 0xb5000016));
}

/** Moves the descriptor up; where the limit forbids it, it stays where it is. */
function moveFile(c: CodeBuilder): void {
  c.op("mov w0, w23", ...word(0x2a1703e0));
  mov(c, 1, LINUX.F_DUPFD_CLOEXEC);
  mov(c, 2, FD_MIN);
  syscall(c, SYS.FCNTL);
  c.op("tbnz w0, 31, name_file", reach14("name_file", 0x37f80000));
  c.op("mov w9, w0", ...word(0x2a0003e9));
  c.op("mov w0, w23", ...word(0x2a1703e0));
  c.op("mov w23, w9", ...word(0x2a0903f7));
  syscall(c, SYS.CLOSE);
}

/** Leaves the address of the bundle's path in x21, written backwards into a page of its own. */
function nameFile(c: CodeBuilder): void {
  c.label("name_file");
  mov(c, 0, 0);
  mov(c, 1, 4096);
  mov(c, 2, LINUX.PROT_READ_WRITE);
  mov(c, 3, LINUX.MAP_PRIVATE_ANONYMOUS);
  c.op("mov x4, -1", ...word(0x92800004));
  mov(c, 5, 0);
  syscall(c, SYS.MMAP);
  c.op("tbnz x0, 63, fail", reach14("fail", 0xb7f80000));
  c.op("add x21, x0, 64", ...word(0x91010015)); // the NUL is there: the page is zero
  c.op("mov w9, w23", ...word(0x2a1703e9));
  mov(c, 10, 10);
  c.label("digit");
  c.op("udiv w11, w9, w10", ...word(0x1aca092b));
  c.op("msub w12, w11, w10, w9", ...word(0x1b0aa56c));
  c.op("add w12, w12, 48", ...word(0x1100c18c));
  c.op("strb w12, [x21, -1]!", ...word(0x381ffeac));
  c.op("mov w9, w11", ...word(0x2a0b03e9));
  c.op("cbnz w9, digit", reach19("digit", 0x35000009));
  adr(c, 10, "fd_path");
  c.op(`add x9, x10, ${FD_PATH_PREFIX.length}`, ...word(0x91000149 | FD_PATH_PREFIX.length << 10));
  c.label("prefix_out");
  c.op("ldrb w11, [x9, -1]!", ...word(0x385ffd2b));
  c.op("strb w11, [x21, -1]!", ...word(0x381ffeab));
  c.op("cmp x9, x10", ...word(0xeb0a013f));
  c.op("b.ne prefix_out", reach19("prefix_out", 0x54000001));
}

/** Puts the arguments between argv[0] and argv[1], corrects argc, and goes on to deno. */
function pushArguments(c: CodeBuilder, denoArgs: readonly string[]): void {
  const count = denoArgs.length + 1;
  c.op("ldr x9, [x19]", ...word(0xf9400269)); // argc
  c.op("ldr x10, [x19, 8]", ...word(0xf940066a)); // argv[0]
  c.op(`add x9, x9, ${count}`, ...word(0x91000129 | (count << 10)));
  c.op(`sub x11, x19, ${8 * count}`, ...word(0xd100026b | ((8 * count) << 10)));
  c.op("mov sp, x11", ...word(0x9100017f));
  c.op("str x9, [x11], 8", ...word(0xf8008569));
  c.op("str x10, [x11], 8", ...word(0xf800856a));
  for (let index = 0; index < denoArgs.length; index++) {
    adr(c, 9, `argument_${index}`);
    c.op("str x9, [x11], 8", ...word(0xf8008569));
  }
  c.op("str x21, [x11], 8", ...word(0xf8008575));
  c.op("mov x0, x20", ...word(0xaa1403e0));
  c.op("b deno_entry", reach26("deno_entry", 0x14000000));
}

function fail(c: CodeBuilder): void {
  c.label("fail");
  mov(c, 0, LINUX.STDERR);
  adr(c, 1, "failure");
  mov(c, 2, FAILURE_MESSAGE.length);
  syscall(c, SYS.WRITE);
  mov(c, 0, 1);
  syscall(c, SYS.EXIT_GROUP);
}

/** The eight bytes of a number. */
function quad(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value), true);
  return bytes;
}

/** Makes the start-up code for aarch64. */
export function makeAarch64StartCode(plan: StartCodePlan): StartCode {
  checkPlan(plan);
  const c = new CodeBuilder();
  c.external("deno_entry", plan.entry - plan.address);
  c.label("start");
  c.op("mov x20, x0", ...word(0xaa0003f4));
  c.op("mov x19, sp", ...word(0x910003f3));
  dropVariables(c);
  setVariables(c);
  makeFile(c);
  moveFile(c);
  nameFile(c);
  pushArguments(c, plan.denoArgs);
  fail(c);
  c.align(8);
  c.data("environ_distance", quad(plan.environSlot - plan.address));
  c.data("setenv_distance", quad(plan.setenvSlot - plan.address));
  c.data("program_size", quad(plan.programSize));
  c.data("name", cStrings([plan.name]));
  c.data("fd_path", cStrings([FD_PATH_PREFIX]));
  c.data("failure", cStrings([FAILURE_MESSAGE]));
  c.data("drop_prefixes", cStrings([...plan.dropPrefixes, ""]));
  c.data("settings", cStrings([...Object.entries(plan.settings).flat(), ""]));
  plan.denoArgs.forEach((arg, index) => c.data(`argument_${index}`, cStrings([arg])));
  c.align(16);
  c.label("program");
  return { code: c.finish(), listing: c.listing() };
}
