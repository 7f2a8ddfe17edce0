/**
 * The machine code of `fault_safe_copy.ts`, position-independent.
 *
 * Both routines are called as `int routine(void *array, struct args *args)`, with { address, size, left, at } in args, four u64. A copy
 * that is stopped by a fault has its count of bytes left in rcx (Intel SDM, REP: the registers are as after the last whole byte), and goes
 * on at `tail`, which stores it. The handler is `void handler(int signal, siginfo_t *, ucontext_t *)`; the context's RIP is at 168.
 *
 * @module
 */

/** One processor's code: its bytes, and where in them things are. */
export interface FaultSafeCode {
  readonly bytes: Uint8Array;
  readonly read: number;
  readonly write: number;
  readonly handler: number;
  /** Where the addresses of the handlers that were there before are to be stored. */
  readonly oldSigbus: number;
  readonly oldSigsegv: number;
}

// deno-fmt-ignore
const X86_64 = [
  // 0x00 read:
  0x49, 0x89, 0xf0,                          // mov r8, rsi
  0x48, 0x03, 0x7e, 0x18,                    // add rdi, [rsi+24]       the array's address + at
  0x48, 0x8b, 0x4e, 0x08,                    // mov rcx, [rsi+8]        size
  0x48, 0x8b, 0x36,                          // mov rsi, [rsi]          address
  // 0x0e read_move:
  0xf3, 0xa4,                                // rep movsb
  // 0x10 tail:
  0x49, 0x89, 0x48, 0x10,                    // mov [r8+16], rcx        left
  0x31, 0xc0,                                // xor eax, eax
  0xc3,                                      // ret
  0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
  // 0x20 write:
  0x49, 0x89, 0xf0,                          // mov r8, rsi
  0x48, 0x8b, 0x4e, 0x08,                    // mov rcx, [rsi+8]        size
  0x48, 0x8b, 0x06,                          // mov rax, [rsi]          address
  0x48, 0x8b, 0x76, 0x18,                    // mov rsi, [rsi+24]       at
  0x48, 0x01, 0xfe,                          // add rsi, rdi            + the array's address
  0x48, 0x89, 0xc7,                          // mov rdi, rax
  // 0x34 write_move:
  0xf3, 0xa4,                                // rep movsb
  0xeb, 0xd8,                                // jmp tail
  0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
  // 0x40 handler:
  0x48, 0x8b, 0x82, 0xa8, 0x00, 0x00, 0x00,  // mov rax, [rdx+168]      where it faulted
  0x48, 0x8d, 0x0d, 0xc0, 0xff, 0xff, 0xff,  // lea rcx, [read_move]
  0x48, 0x39, 0xc8,                          // cmp rax, rcx
  0x74, 0x1d,                                // je ours
  0x48, 0x8d, 0x0d, 0xda, 0xff, 0xff, 0xff,  // lea rcx, [write_move]
  0x48, 0x39, 0xc8,                          // cmp rax, rcx
  0x74, 0x11,                                // je ours
  0x83, 0xff, 0x07,                          // cmp edi, SIGBUS
  0x74, 0x06,                                // je bus
  0xff, 0x25, 0x1e, 0x00, 0x00, 0x00,        // jmp [old_sigsegv]
  // 0x6a bus:
  0xff, 0x25, 0x10, 0x00, 0x00, 0x00,        // jmp [old_sigbus]
  // 0x70 ours:
  0x48, 0x8d, 0x0d, 0x99, 0xff, 0xff, 0xff,  // lea rcx, [tail]
  0x48, 0x89, 0x8a, 0xa8, 0x00, 0x00, 0x00,  // mov [rdx+168], rcx
  0xc3,                                      // ret
  0x90,
  // 0x80 old_sigbus, 0x88 old_sigsegv: stored before the page becomes executable
  0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0,
];

/** By `ARCHITECTURE.name`. */
export const FAULT_SAFE_CODE: Readonly<Record<string, FaultSafeCode>> = {
  x86_64: {
    bytes: new Uint8Array(X86_64),
    read: 0x00,
    write: 0x20,
    handler: 0x40,
    oldSigbus: 0x80,
    oldSigsegv: 0x88,
  },
};
