/**
 * The kernel's machine for classic BPF (net/core/filter.c), as far as system call filters use it, written from bpf(4) of the BSDs and
 * seccomp(2): without a look at how `src/sandbox/bpf.ts` makes programs.
 *
 * @module
 */

/** A system call as a filter sees it. */
export interface SeenCall {
  readonly number: number;
  readonly architecture: number;
  readonly arguments?: readonly bigint[];
}

/** struct seccomp_data */
function seccompData({ number, architecture, arguments: args = [] }: SeenCall): DataView {
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, number, true);
  view.setUint32(4, architecture, true);
  args.forEach((value, i) => view.setBigUint64(16 + 8 * i, BigInt.asUintN(64, value), true));
  return view;
}

/** Runs an encoded program over a call. Returns what it returns; throws where the kernel would not have taken it. */
export function runFilter(program: Uint8Array, call: SeenCall): number {
  const data = seccompData(call);
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const count = program.byteLength / 8;
  let accumulator = 0;
  for (let at = 0; at < count;) {
    const operation = code.getUint16(at * 8, true);
    const jumpTrue = code.getUint8(at * 8 + 2);
    const jumpFalse = code.getUint8(at * 8 + 3);
    const k = code.getUint32(at * 8 + 4, true);
    at++;
    switch (operation) {
      case 0x20: // A = data[k]
        if (k % 4 !== 0 || k >= 64) throw new Error(`a load at ${k}`);
        accumulator = data.getUint32(k, true);
        break;
      case 0x54: // A &= k
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x15: // jump if A == k
        at += accumulator === k ? jumpTrue : jumpFalse;
        break;
      case 0x35: // jump if A >= k, without a sign
        at += accumulator >= k ? jumpTrue : jumpFalse;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`an unknown instruction: 0x${operation.toString(16)}`);
    }
  }
  throw new Error("the program has no end");
}
