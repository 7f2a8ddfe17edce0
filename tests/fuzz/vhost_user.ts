/**
 * Front ends that say anything in any order: `deno run -A tests/fuzz/vhost_user.ts [SECONDS] [SEED]`.
 *
 * Each conversation is decided by its seed. What is held against the back end: it never throws (its device checks the order of
 * calls), all queues are stopped at the end, and no descriptor is left.
 *
 * @module
 */

import { OwnedFd } from "../../src/sys/fd.ts";
import { Backend } from "../../src/vhost_user/backend.ts";
import { close, eventfd, memfd, sendWithFds, shutdown, socketPair } from "../support/libc.ts";
import { concat, words } from "../support/little_endian.ts";
import { encodeMessage, REQUEST } from "../support/vhost_messages.ts";
import { FakeDevice } from "../vhost_user/fake_device.ts";
import { Random } from "./random.ts";

const REQUESTS: readonly number[] = Object.values(REQUEST);
const MEMORY_SIZE = 1 << 16;
/** Descriptors that the runtime may come to keep for itself; a leak soon is more than that. */
const RUNTIME_DESCRIPTORS = 6;
/** Those that set something up are asked for more often, so that queues do run. */
const LIKELY: readonly number[] = [
  REQUEST.SET_FEATURES,
  REQUEST.SET_PROTOCOL_FEATURES,
  REQUEST.SET_MEM_TABLE,
  REQUEST.ADD_MEM_REG,
  REQUEST.REM_MEM_REG,
  REQUEST.SET_VRING_NUM,
  REQUEST.SET_VRING_ADDR,
  REQUEST.SET_VRING_BASE,
  REQUEST.SET_VRING_KICK,
  REQUEST.SET_VRING_CALL,
  REQUEST.SET_VRING_ENABLE,
  REQUEST.GET_VRING_BASE,
];

function edge(random: Random): bigint {
  const [lo, hi] = random.edge();
  return BigInt(hi) << 32n | BigInt(lo);
}

function address(random: Random): bigint {
  return random.oneIn(10) ? edge(random) : BigInt(random.below(24) * 0x1000);
}

function region(random: Random): Uint8Array {
  const size = random.oneIn(6) ? edge(random) : BigInt(random.pick([0x1000, 0x8000, MEMORY_SIZE]));
  const guest = random.oneIn(4) ? address(random) : 0n;
  const offset = random.oneIn(8) ? edge(random) : 0n;
  return words(guest, size, random.oneIn(4) ? address(random) : 0n, offset);
}

function index(random: Random): number {
  return random.oneIn(12) ? random.edge()[0] : random.below(3);
}

/** A payload that fits the request, mostly. */
function payload(request: number, random: Random): Uint8Array {
  switch (request) {
    case REQUEST.SET_FEATURES:
      return words(random.oneIn(3) ? edge(random) : 0x1_7000_0000n);
    case REQUEST.SET_PROTOCOL_FEATURES:
      return words(random.oneIn(3) ? BigInt(random.u32()) : 0xb22bn);
    case REQUEST.SET_MEM_TABLE: {
      const count = random.oneIn(6) ? random.below(12) : 1;
      const claimed = random.oneIn(10) ? random.edge()[0] : count;
      const regions = Array.from({ length: count }, () => region(random));
      return concat(words(claimed, 0), ...regions);
    }
    case REQUEST.ADD_MEM_REG:
    case REQUEST.REM_MEM_REG:
      return concat(words(0n), region(random));
    case REQUEST.SET_VRING_NUM:
      return words(index(random), random.oneIn(4) ? random.edge()[0] : 1 << random.below(9));
    case REQUEST.SET_VRING_ADDR: {
      const first = random.below(8) * 0x1000;
      const used = random.oneIn(5) ? address(random) : BigInt(first + 0x2000);
      const avail = random.oneIn(5) ? address(random) : BigInt(first + 0x1000);
      return words(index(random), random.oneIn(8) ? 1 : 0, BigInt(first), used, avail, 0n);
    }
    case REQUEST.SET_VRING_KICK:
    case REQUEST.SET_VRING_CALL:
    case REQUEST.SET_VRING_ERR:
      return words(BigInt(index(random)) | (random.oneIn(3) ? 0x100n : 0n));
    case REQUEST.GET_CONFIG:
      return concat(words(random.below(60), random.below(300), 0), new Uint8Array(40));
    default:
      return words(index(random), random.oneIn(3) ? random.edge()[0] : random.below(2));
  }
}

function descriptors(request: number, random: Random, some: readonly number[]): number[] {
  if (random.oneIn(10)) return Array.from({ length: random.below(12) }, () => random.pick(some));
  const [event, memory] = some;
  switch (request) {
    case REQUEST.SET_MEM_TABLE:
    case REQUEST.ADD_MEM_REG:
      return [memory!];
    case REQUEST.SET_VRING_KICK:
    case REQUEST.SET_VRING_CALL:
    case REQUEST.SET_VRING_ERR:
      return random.oneIn(3) ? [] : [event!];
  }
  return [];
}

/** One conversation. Returns the number of messages; throws where the back end does. */
export async function converse(seed: number): Promise<number> {
  const random = new Random(seed);
  const [ours, theirs] = socketPair();
  const some = [eventfd(), memfd("fuzz", MEMORY_SIZE), memfd("small", 100)];
  const device = new FakeDevice();
  if (random.oneIn(10)) device.refusal = "it does not want to";
  const log = { debug() {}, info() {}, warn() {} };
  const count = 1 + random.below(40);
  let sent = 0;
  try {
    const served = new Backend(device, log).serve(
      new OwnedFd(theirs),
      new AbortController().signal,
    );
    for (; sent < count; sent++) {
      const request = random.oneIn(4) ? random.pick(REQUESTS) : random.pick(LIKELY);
      let bytes = payload(request, random);
      if (random.oneIn(25)) bytes = bytes.slice(0, random.below(bytes.length + 1));
      if (random.oneIn(25)) bytes = concat(bytes, new Uint8Array(random.below(64)));
      const flags = random.oneIn(60) ? random.below(16) : random.oneIn(3) ? 9 : 1;
      const size = random.oneIn(80) ? random.edge()[0] : bytes.length;
      const known = random.oneIn(80) ? random.below(80) : request;
      sendWithFds(
        ours,
        encodeMessage(known, flags, bytes, size),
        descriptors(request, random, some),
      );
    }
    // No more comes; what has been sent is read to its end.
    shutdown(ours, 1);
    await served;
  } finally {
    for (const fd of [ours, ...some]) close(fd);
  }
  if (device.running.size > 0) throw new Error("queues run without a front end");
  return sent;
}

/** Converses until the time is up. Returns what was done. */
export async function fuzzVhostUser(
  seed: number,
  seconds: number,
): Promise<{ conversations: number; messages: number; failures: string[] }> {
  const random = new Random(seed);
  const failures: string[] = [];
  const end = performance.now() + seconds * 1000;
  let conversations = 0;
  let messages = 0;
  // What the runtime keeps once it has been needed is there after these.
  for (let i = 0; i < 50; i++) await converse(random.u32()).catch(() => 0);
  const before = descriptorCount();
  while (performance.now() < end && failures.length < 5) {
    const one = random.u32();
    try {
      messages += await converse(one);
    } catch (error) {
      failures.push(`seed ${one}: ${(error as Error)?.stack ?? error}`);
    }
    conversations++;
    if (conversations % 200 === 0) {
      const now = descriptorCount();
      if (now > before + RUNTIME_DESCRIPTORS) {
        failures.push(`${before} descriptors became ${now} before seed ${one}`);
      }
    }
  }
  return { conversations, messages, failures };
}

function descriptorCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

if (import.meta.main) {
  const [seconds, seed] = Deno.args.map(Number);
  const first = seed ?? Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${first}`);
  const { conversations, messages, failures } = await fuzzVhostUser(first, seconds ?? 20);
  for (const failure of failures) console.error(`FAILED: ${failure}`);
  console.log(
    `${messages} messages in ${conversations} conversations, ${failures.length} failures`,
  );
  Deno.exit(failures.length === 0 ? 0 : 1);
}
