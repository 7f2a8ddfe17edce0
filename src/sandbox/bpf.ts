/**
 * Classic BPF programs that decide by the number of a system call (seccomp(2)): a table of ranges becomes a binary tree of comparisons.
 *
 * @module
 */

import { assert } from "../assert.ts";
import {
  BPF_ABS,
  BPF_ALU,
  BPF_AND,
  BPF_JEQ,
  BPF_JGE,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_MAXINSNS,
  BPF_RET,
  BPF_W,
  SECCOMP_DATA,
  SOCK_FILTER,
} from "../wire/isolation.ts";

/** struct sock_filter */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** A condition on one argument: its bits in `mask` are one of `values`; without a mask, the whole argument is. Values have 32 bits. */
export interface ArgumentTest {
  readonly index: number;
  readonly mask?: number;
  readonly values: readonly number[];
}

/** What happens to calls of one number. */
export interface Decision {
  /** SECCOMP_RET_* */
  readonly action: number;
  /** All of these have to hold for it; else the default action is taken. */
  readonly tests?: readonly ArgumentTest[];
}

/** Jumps have eight bits. */
const JUMP_MAX = 255;
const ARGUMENT_SIZE = 8;
const NUMBER_END = 2 ** 32;

/**
 * A program for calls of one architecture (AUDIT_ARCH_*): others get `foreign`, numbers that are not in the table `otherwise`.
 */
export function decisionProgram(
  architecture: number,
  table: ReadonlyMap<number, Decision>,
  otherwise: number,
  foreign: number,
): Instruction[] {
  const program = [
    load(SECCOMP_DATA.ARCH),
    jump(BPF_JEQ, architecture, 1, 0),
    returning(foreign),
    load(SECCOMP_DATA.NR),
    ...tree(ranges(table, otherwise), otherwise),
  ];
  assert(program.length <= BPF_MAXINSNS, "the kernel takes the program");
  return program;
}

/** The program as the kernel reads it. */
export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * SOCK_FILTER.SIZE);
  const view = new DataView(bytes.buffer);
  for (const [i, { code, jt, jf, k }] of program.entries()) {
    const at = i * SOCK_FILTER.SIZE;
    view.setUint16(at + SOCK_FILTER.CODE, code, true);
    view.setUint8(at + SOCK_FILTER.JT, jt);
    view.setUint8(at + SOCK_FILTER.JF, jf);
    view.setUint32(at + SOCK_FILTER.K, k, true);
  }
  return bytes;
}

interface Range {
  readonly first: number;
  readonly decision: Decision;
}

/** All numbers, in ranges of the same decision. */
function ranges(table: ReadonlyMap<number, Decision>, otherwise: number): Range[] {
  const list: Range[] = [];
  const push = (first: number, decision: Decision): void => {
    const last = list.at(-1)?.decision;
    const isSame = last !== undefined && last.tests === undefined &&
      decision.tests === undefined && last.action === decision.action;
    if (!isSame) list.push({ first, decision });
  };
  let next = 0;
  for (const [number, decision] of [...table].sort(([a], [b]) => a - b)) {
    if (number > next) push(next, { action: otherwise });
    push(number, decision);
    next = number + 1;
  }
  if (next < NUMBER_END) push(next, { action: otherwise });
  return list;
}

function tree(list: readonly Range[], otherwise: number): Instruction[] {
  if (list.length === 1) return leaf(list[0]!.decision, otherwise);
  const middle = Math.floor(list.length / 2);
  const below = tree(list.slice(0, middle), otherwise);
  const above = tree(list.slice(middle), otherwise);
  return [jump(BPF_JGE, list[middle]!.first, below.length, 0), ...below, ...above];
}

function leaf({ action, tests = [] }: Decision, otherwise: number): Instruction[] {
  const checks = tests.flatMap((test) => argumentCheck(test, otherwise));
  return [...checks, returning(action)];
}

/** Falls through if the argument passes. */
function argumentCheck(
  { index, mask, values }: ArgumentTest,
  otherwise: number,
): Instruction[] {
  const low = SECCOMP_DATA.ARGS + index * ARGUMENT_SIZE;
  const program: Instruction[] = [];
  if (mask === undefined) {
    program.push(load(low + 4), jump(BPF_JEQ, 0, 1, 0), returning(otherwise));
  }
  program.push(load(low));
  if (mask !== undefined) program.push({ code: BPF_ALU | BPF_AND | BPF_K, jt: 0, jf: 0, k: mask });
  for (const [i, value] of values.entries()) {
    program.push(jump(BPF_JEQ, value, values.length - i, 0));
  }
  program.push(returning(otherwise));
  return program;
}

function load(offset: number): Instruction {
  return { code: BPF_LD | BPF_W | BPF_ABS, jt: 0, jf: 0, k: offset };
}

function jump(condition: number, k: number, jt: number, jf: number): Instruction {
  assert(jt <= JUMP_MAX && jf <= JUMP_MAX, "a jump is short");
  return { code: BPF_JMP | condition | BPF_K, jt, jf, k: k >>> 0 };
}

function returning(action: number): Instruction {
  return { code: BPF_RET | BPF_K, jt: 0, jf: 0, k: action >>> 0 };
}
