/**
 * The start-up code for x86-64. `start_code.ts` says what it does.
 *
 * At entry: rsp points at argc, rdx holds the loader's exit handler, which deno's entry wants back.
 * Kept throughout: rbx = the stack at entry, r12 = the exit handler, ebp = the bundle's descriptor.
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

/** System call numbers of x86-64. */
const SYS = { WRITE: 1, CLOSE: 3, MMAP: 9, FCNTL: 72, EXIT_GROUP: 231, MEMFD_CREATE: 319 } as const;

/** A distance of one byte, counted from the end of the instruction. */
function rel8(target: string): Reference {
  return {
    target,
    width: 1,
    patch: (code, at, distance) => {
      const value = distance - 1;
      if (value < -128 || value > 127) throw new RangeError(`Cannot reach "${target}" in one byte`);
      code.setInt8(at, value);
    },
  };
}

/** A distance of four bytes, counted from the end of the instruction. */
function rel32(target: string): Reference {
  return {
    target,
    width: 4,
    patch: (code, at, distance) => code.setInt32(at, distance - 4, true),
  };
}

/** The four bytes of a 32-bit number. */
function imm32(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
}

/** `mov eax, number; syscall`. The kernel overwrites rax, rcx and r11. */
function syscall(c: CodeBuilder, number: number): void {
  c.op(`mov eax, ${number}`, 0xb8, ...imm32(number));
  c.op("syscall", 0x0f, 0x05);
}

/** Walks environ once: rsi reads, rdi writes what is kept. */
function dropVariables(c: CodeBuilder): void {
  c.op("mov r14, [rip + environ_slot]", 0x4c, 0x8b, 0x35, rel32("environ_slot"));
  c.op("mov rsi, [r14]", 0x49, 0x8b, 0x36);
  c.op("mov rdi, rsi", 0x48, 0x89, 0xf7);
  c.op("test rsi, rsi", 0x48, 0x85, 0xf6);
  c.op("je set_variables", 0x74, rel8("set_variables"));
  c.label("variable");
  c.op("lodsq", 0x48, 0xad);
  c.op("test rax, rax", 0x48, 0x85, 0xc0);
  c.op("je variables_end", 0x74, rel8("variables_end"));
  c.op("lea r8, [rip + drop_prefixes]", 0x4c, 0x8d, 0x05, rel32("drop_prefixes"));
  c.label("prefix"); // r8: the next prefix, an empty one ends the list
  c.op("cmp byte ptr [r8], 0", 0x41, 0x80, 0x38, 0x00);
  c.op("je keep", 0x74, rel8("keep"));
  c.op("mov r9, rax", 0x49, 0x89, 0xc1);
  c.label("compare");
  c.op("movzx ecx, byte ptr [r8]", 0x41, 0x0f, 0xb6, 0x08);
  c.op("inc r8", 0x49, 0xff, 0xc0);
  c.op("test cl, cl", 0x84, 0xc9);
  c.op("je variable", 0x74, rel8("variable")); // the whole prefix matched: not kept
  c.op("cmp cl, [r9]", 0x41, 0x3a, 0x09);
  c.op("lea r9, [r9 + 1]", 0x4d, 0x8d, 0x49, 0x01);
  c.op("je compare", 0x74, rel8("compare"));
  c.label("rest_of_prefix");
  c.op("cmp byte ptr [r8], 0", 0x41, 0x80, 0x38, 0x00);
  c.op("lea r8, [r8 + 1]", 0x4d, 0x8d, 0x40, 0x01);
  c.op("jne rest_of_prefix", 0x75, rel8("rest_of_prefix"));
  c.op("jmp prefix", 0xeb, rel8("prefix"));
  c.label("keep");
  c.op("stosq", 0x48, 0xab);
  c.op("jmp variable", 0xeb, rel8("variable"));
  c.label("variables_end"); // rax is 0: NULL ends the list, and fills the slots set free
  c.op("stosq", 0x48, 0xab);
  c.op("cmp rdi, rsi", 0x48, 0x39, 0xf7);
  c.op("jb variables_end", 0x72, rel8("variables_end"));
}

/** Calls setenv(name, value, 1) for each pair of the list at `settings`. */
function setVariables(c: CodeBuilder): void {
  c.label("set_variables");
  c.op("and rsp, -16", 0x48, 0x83, 0xe4, 0xf0); // the ABI's alignment for calls
  c.op("lea r15, [rip + settings]", 0x4c, 0x8d, 0x3d, rel32("settings"));
  c.label("setting");
  c.op("cmp byte ptr [r15], 0", 0x41, 0x80, 0x3f, 0x00);
  c.op("je make_file", 0x74, rel8("make_file"));
  c.op("mov rdi, r15", 0x4c, 0x89, 0xff);
  c.op("call skip_string", 0xe8, rel32("skip_string"));
  c.op("mov rsi, r15", 0x4c, 0x89, 0xfe);
  c.op("call skip_string", 0xe8, rel32("skip_string"));
  c.op("mov edx, 1", 0xba, ...imm32(1));
  c.op("call [rip + setenv_slot]", 0xff, 0x15, rel32("setenv_slot"));
  c.op("jmp setting", 0xeb, rel8("setting"));
  c.label("skip_string");
  c.op("cmp byte ptr [r15], 0", 0x41, 0x80, 0x3f, 0x00);
  c.op("lea r15, [r15 + 1]", 0x4d, 0x8d, 0x7f, 0x01);
  c.op("jne skip_string", 0x75, rel8("skip_string"));
  c.op("ret", 0xc3);
}

/** Leaves the descriptor of a memfd with the bundle in ebp. */
function makeFile(c: CodeBuilder, programSize: number): void {
  c.label("make_file");
  const flags = LINUX.MFD_CLOEXEC | LINUX.MFD_NOEXEC_SEAL;
  c.op("lea rdi, [rip + name]", 0x48, 0x8d, 0x3d, rel32("name"));
  c.op(`mov esi, ${flags}`, 0xbe, ...imm32(flags));
  syscall(c, SYS.MEMFD_CREATE);
  c.op(`cmp eax, -${LINUX.EINVAL}`, 0x83, 0xf8, 256 - LINUX.EINVAL); // kernel before 6.3
  c.op("jne created", 0x75, rel8("created"));
  c.op(`mov esi, ${LINUX.MFD_CLOEXEC}`, 0xbe, ...imm32(LINUX.MFD_CLOEXEC));
  syscall(c, SYS.MEMFD_CREATE);
  c.label("created");
  c.op("test eax, eax", 0x85, 0xc0);
  c.op("js fail", 0x78, rel8("fail"));
  c.op("mov ebp, eax", 0x89, 0xc5);
  c.op("lea r13, [rip + program]", 0x4c, 0x8d, 0x2d, rel32("program"));
  c.op(`mov r15d, ${programSize}`, 0x41, 0xbf, ...imm32(programSize));
  c.label("write_rest");
  c.op("mov edi, ebp", 0x89, 0xef);
  c.op("mov rsi, r13", 0x4c, 0x89, 0xee);
  c.op("mov edx, r15d", 0x44, 0x89, 0xfa);
  syscall(c, SYS.WRITE);
  c.op("test rax, rax", 0x48, 0x85, 0xc0);
  c.op("jle fail", 0x7e, rel8("fail"));
  c.op("add r13, rax", 0x49, 0x01, 0xc5);
  c.op("sub r15d, eax", 0x41, 0x29, 0xc7);
  c.op("jne write_rest", 0x75, rel8("write_rest"));
}

/** Moves the descriptor up; where the limit forbids it, it stays where it is. */
function moveFile(c: CodeBuilder): void {
  c.op("mov edi, ebp", 0x89, 0xef);
  c.op(`mov esi, ${LINUX.F_DUPFD_CLOEXEC}`, 0xbe, ...imm32(LINUX.F_DUPFD_CLOEXEC));
  c.op(`mov edx, ${FD_MIN}`, 0xba, ...imm32(FD_MIN));
  syscall(c, SYS.FCNTL);
  c.op("test eax, eax", 0x85, 0xc0);
  c.op("js name_file", 0x78, rel8("name_file"));
  c.op("mov edi, ebp", 0x89, 0xef);
  c.op("mov ebp, eax", 0x89, 0xc5);
  syscall(c, SYS.CLOSE);
}

/** Leaves the address of the bundle's path in r13, in a page of its own: the stack below is deno's. */
function nameFile(c: CodeBuilder): void {
  c.label("name_file");
  const flags = LINUX.MAP_PRIVATE_ANONYMOUS;
  c.op("xor edi, edi", 0x31, 0xff);
  c.op("mov esi, 4096", 0xbe, ...imm32(4096));
  c.op(`mov edx, ${LINUX.PROT_READ_WRITE}`, 0xba, ...imm32(LINUX.PROT_READ_WRITE));
  c.op(`mov r10d, ${flags}`, 0x41, 0xba, ...imm32(flags));
  c.op("mov r8, -1", 0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff);
  c.op("xor r9d, r9d", 0x45, 0x31, 0xc9);
  syscall(c, SYS.MMAP);
  c.op("test rax, rax", 0x48, 0x85, 0xc0);
  c.op("js fail", 0x0f, 0x88, rel32("fail"));
  c.op("mov r13, rax", 0x49, 0x89, 0xc5);
  c.op("mov rdi, rax", 0x48, 0x89, 0xc7);
  c.op("lea rsi, [rip + fd_path]", 0x48, 0x8d, 0x35, rel32("fd_path"));
  c.op(`mov ecx, ${FD_PATH_PREFIX.length}`, 0xb9, ...imm32(FD_PATH_PREFIX.length));
  c.op("rep movsb", 0xf3, 0xa4);
  c.op("mov eax, ebp", 0x89, 0xe8);
  c.op("mov esi, 10", 0xbe, ...imm32(10));
  c.label("digit"); // lowest first onto the stack, then off it in reading order
  c.op("xor edx, edx", 0x31, 0xd2);
  c.op("div esi", 0xf7, 0xf6);
  c.op("add edx, 48", 0x83, 0xc2, 0x30);
  c.op("push rdx", 0x52);
  c.op("inc ecx", 0xff, 0xc1);
  c.op("test eax, eax", 0x85, 0xc0);
  c.op("jne digit", 0x75, rel8("digit"));
  c.label("digit_out");
  c.op("pop rax", 0x58);
  c.op("stosb", 0xaa);
  c.op("dec ecx", 0xff, 0xc9);
  c.op("jne digit_out", 0x75, rel8("digit_out"));
}

/** Puts the arguments between argv[0] and argv[1], corrects argc, and goes on to deno. */
function pushArguments(c: CodeBuilder, denoArgs: readonly string[]): void {
  c.op("mov rsp, rbx", 0x48, 0x89, 0xdc);
  c.op("pop rax", 0x58); // argc
  c.op("pop rcx", 0x59); // argv[0]
  c.op("push r13", 0x41, 0x55);
  for (let index = denoArgs.length - 1; index >= 0; index--) {
    c.op(`lea rdx, [rip + argument_${index}]`, 0x48, 0x8d, 0x15, rel32(`argument_${index}`));
    c.op("push rdx", 0x52);
  }
  c.op("push rcx", 0x51);
  c.op(`add eax, ${denoArgs.length + 1}`, 0x83, 0xc0, denoArgs.length + 1);
  c.op("push rax", 0x50);
  c.op("mov rdx, r12", 0x4c, 0x89, 0xe2);
  c.op("jmp deno_entry", 0xe9, rel32("deno_entry"));
}

function fail(c: CodeBuilder): void {
  c.label("fail");
  c.op(`mov edi, ${LINUX.STDERR}`, 0xbf, ...imm32(LINUX.STDERR));
  c.op("lea rsi, [rip + failure]", 0x48, 0x8d, 0x35, rel32("failure"));
  c.op(`mov edx, ${FAILURE_MESSAGE.length}`, 0xba, ...imm32(FAILURE_MESSAGE.length));
  syscall(c, SYS.WRITE);
  c.op("mov edi, 1", 0xbf, ...imm32(1));
  syscall(c, SYS.EXIT_GROUP);
}

/** Makes the start-up code for x86-64. */
export function makeX8664StartCode(plan: StartCodePlan): StartCode {
  checkPlan(plan);
  const c = new CodeBuilder();
  c.external("environ_slot", plan.environSlot - plan.address);
  c.external("setenv_slot", plan.setenvSlot - plan.address);
  c.external("deno_entry", plan.entry - plan.address);
  c.label("start");
  c.op("mov r12, rdx", 0x49, 0x89, 0xd4);
  c.op("mov rbx, rsp", 0x48, 0x89, 0xe3);
  dropVariables(c);
  setVariables(c);
  fail(c); // reached by jumps only
  makeFile(c, plan.programSize);
  moveFile(c);
  nameFile(c);
  pushArguments(c, plan.denoArgs);
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
