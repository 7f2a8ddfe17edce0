/**
 * The machine code of `system_call_list.ts` and `system_call_trap.ts`, position-independent.
 *
 * `long run(const call *list)` is clone(2) with the flags of the list's first row. In the parent it returns the result. The child makes
 * the calls of the following rows, one after another, and touches no stack: so it may share the parent's, and needs nothing of a program.
 *
 * `void trapped(int signal, siginfo_t *)` writes the beginning of the siginfo to a descriptor and ends the process.
 *
 * @module
 */

/** One row of a list: a call, and what happens to its result. All are u64. */
export const CALL = {
  NUMBER: 0,
  /** Six arguments. */
  ARGUMENTS: 8,
  /** An address that the result is stored at, or 0. */
  STORE: 56,
  /** Where to go on if the result is 0 (the child of a clone), or 0 for the next row. When a call failed its result is left here. */
  ON_ZERO: 64,
  /** i32: to where the row of a failed call is written before the process ends; negative: go on instead. */
  REPORT_FD: 72,
  /** u32: the row's place in the list, for whoever reads a report. */
  INDEX: 76,
  SIZE: 80,
} as const;

/** One processor's code: its bytes, and where in them things are. */
export interface SystemCallCode {
  readonly run: Uint8Array;
  readonly trapped: Uint8Array;
  /** Where in `trapped` the descriptor stands, an i32. */
  readonly trappedFd: number;
}

/** What `trapped` writes of the siginfo. */
export const TRAP_REPORT_SIZE = 32;

// deno-fmt-ignore
const X86_64_RUN = [
  0x53,                          // 00 run: push rbx
  0x48, 0x89, 0xfb,              // mov rbx, rdi
  0x48, 0x8b, 0x7b, 0x08,        // mov rdi, [rbx+8]
  0x31, 0xf6,                    // xor esi, esi
  0x31, 0xd2,                    // xor edx, edx
  0x45, 0x31, 0xd2,              // xor r10d, r10d
  0x45, 0x31, 0xc0,              // xor r8d, r8d
  0x8b, 0x03,                    // mov eax, [rbx]
  0x0f, 0x05,                    // syscall
  0x48, 0x85, 0xc0,              // test rax, rax
  0x74, 0x02,                    // jz next
  0x5b,                          // pop rbx
  0xc3,                          // ret
  0x48, 0x83, 0xc3, 0x50,        // 1d next: add rbx, 80
  0x48, 0x8b, 0x03,              // 21 call: mov rax, [rbx]
  0x48, 0x8b, 0x7b, 0x08,        // mov rdi, [rbx+8]
  0x48, 0x8b, 0x73, 0x10,        // mov rsi, [rbx+16]
  0x48, 0x8b, 0x53, 0x18,        // mov rdx, [rbx+24]
  0x4c, 0x8b, 0x53, 0x20,        // mov r10, [rbx+32]
  0x4c, 0x8b, 0x43, 0x28,        // mov r8, [rbx+40]
  0x4c, 0x8b, 0x4b, 0x30,        // mov r9, [rbx+48]
  0x0f, 0x05,                    // syscall
  0x48, 0x8b, 0x4b, 0x38,        // mov rcx, [rbx+56]
  0x48, 0x85, 0xc9,              // test rcx, rcx
  0x74, 0x03,                    // jz stored
  0x48, 0x89, 0x01,              // mov [rcx], rax
  0x48, 0x85, 0xc0,              // 4a stored: test rax, rax
  0x78, 0x10,                    // js failed
  0x75, 0xcc,                    // jnz next
  0x48, 0x8b, 0x4b, 0x40,        // mov rcx, [rbx+64]
  0x48, 0x85, 0xc9,              // test rcx, rcx
  0x74, 0xc3,                    // jz next
  0x48, 0x89, 0xcb,              // mov rbx, rcx
  0xeb, 0xc2,                    // jmp call
  0x8b, 0x7b, 0x48,              // 5f failed: mov edi, [rbx+72]
  0x85, 0xff,                    // test edi, edi
  0x78, 0xb7,                    // js next
  0x48, 0x89, 0x43, 0x40,        // mov [rbx+64], rax
  0x48, 0x89, 0xde,              // mov rsi, rbx
  0xba, 0x50, 0x00, 0x00, 0x00,  // mov edx, 80
  0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1            write
  0x0f, 0x05,                    // syscall
  0xbf, 0x7f, 0x00, 0x00, 0x00,  // mov edi, 127
  0xb8, 0xe7, 0x00, 0x00, 0x00,  // mov eax, 231          exit_group
  0x0f, 0x05,                    // syscall
  0xf4,                          // hlt
];

// deno-fmt-ignore
const X86_64_TRAPPED = [
  0xba, 0x20, 0x00, 0x00, 0x00,        // trapped: mov edx, 32
  0x8b, 0x3d, 0x15, 0x00, 0x00, 0x00,  // mov edi, [fd]
  0xb8, 0x01, 0x00, 0x00, 0x00,        // mov eax, 1      write
  0x0f, 0x05,                          // syscall
  0xbf, 0x9f, 0x00, 0x00, 0x00,        // mov edi, 159    128 + SIGSYS
  0xb8, 0xe7, 0x00, 0x00, 0x00,        // mov eax, 231    exit_group
  0x0f, 0x05,                          // syscall
  0xf4,                                // hlt
  0x90,
  0, 0, 0, 0,                          // 20 fd
];

// deno-fmt-ignore
const AARCH64_RUN = [
  0xaa0003e9,  // 00 run: mov x9, x0
  0xf9400520,  // ldr x0, [x9, 8]
  0xd2800001,  // mov x1, 0
  0xd2800002,  // mov x2, 0
  0xd2800003,  // mov x3, 0
  0xd2800004,  // mov x4, 0
  0xf9400128,  // ldr x8, [x9]
  0xd4000001,  // svc 0
  0xb4000040,  // cbz x0, next
  0xd65f03c0,  // ret
  0x91014129,  // 28 next: add x9, x9, 80
  0xf9400128,  // 2c call: ldr x8, [x9]
  0xa9408520,  // ldp x0, x1, [x9, 8]
  0xa9418d22,  // ldp x2, x3, [x9, 24]
  0xa9429524,  // ldp x4, x5, [x9, 40]
  0xd4000001,  // svc 0
  0xf9401d2a,  // ldr x10, [x9, 56]
  0xb400004a,  // cbz x10, stored
  0xf9000140,  // str x0, [x10]
  0xb7f800c0,  // 4c stored: tbnz x0, 63, failed
  0xb5fffec0,  // cbnz x0, next
  0xf940212a,  // ldr x10, [x9, 64]
  0xb4fffe8a,  // cbz x10, next
  0xaa0a03e9,  // mov x9, x10
  0x17fffff3,  // b call
  0xb940492a,  // 64 failed: ldr w10, [x9, 72]
  0x37fffe0a,  // tbnz w10, 31, next
  0xf9002120,  // str x0, [x9, 64]
  0x2a0a03e0,  // mov w0, w10
  0xaa0903e1,  // mov x1, x9
  0xd2800a02,  // mov x2, 80
  0xd2800808,  // mov x8, 64       write
  0xd4000001,  // svc 0
  0xd2800fe0,  // mov x0, 127
  0xd2800bc8,  // mov x8, 94       exit_group
  0xd4000001,  // svc 0
  0xd4200000,  // brk 0
];

// deno-fmt-ignore
const AARCH64_TRAPPED = [
  0xd2800402,  // trapped: mov x2, 32
  0x180000e0,  // ldr w0, fd
  0xd2800808,  // mov x8, 64       write
  0xd4000001,  // svc 0
  0xd28013e0,  // mov x0, 159      128 + SIGSYS
  0xd2800bc8,  // mov x8, 94       exit_group
  0xd4000001,  // svc 0
  0xd4200000,  // brk 0
  0,           // 20 fd
];

function words(code: readonly number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(code).buffer);
}

/** By `ARCHITECTURE.name`. */
export const SYSTEM_CALL_CODE: Readonly<Record<"x86_64" | "aarch64", SystemCallCode>> = {
  x86_64: {
    run: new Uint8Array(X86_64_RUN),
    trapped: new Uint8Array(X86_64_TRAPPED),
    trappedFd: 0x20,
  },
  aarch64: {
    run: words(AARCH64_RUN),
    trapped: words(AARCH64_TRAPPED),
    trappedFd: 0x20,
  },
};
