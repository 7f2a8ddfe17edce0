/**
 * One input: a session of some thousand requests, told by a few numbers, so that each can be run again.
 *
 * @module
 */

import { Builder } from "./builder.ts";
import { AT, layOut } from "./chains.ts";
import type { Coverage } from "./coverage.ts";
import { Model } from "./model.ts";
import { FAVOURED } from "./modes.ts";
import { PROMISES, type Promises } from "./promises.ts";
import { Random } from "./random.ts";
import { type Draft, makeInit, makeRequest, mutate } from "./requests.ts";
import type { FuzzTarget } from "./target.ts";
import type { Ground } from "./tree.ts";

/** From request `at` on, the choices are those of another seed: how inputs are varied that have reached something. */
export interface Fork {
  readonly at: number;
  readonly seed: number;
}

export interface Input {
  readonly mode: string;
  readonly seed: number;
  readonly forks: readonly Fork[];
  readonly length: number;
}

const builder = new Builder();
const EMPTY = "1 inodes, 0 handles, 0 locks, 0 mappings";
const FUSE_INIT = 26;
const EIO = 5;
const FUSE_FORGETS: readonly number[] = [2, 42];

/** Runs an input. Returns the number of requests; throws, with the request that did it, where something is not as it must be. */
export function runInput(
  input: Input,
  { target, ground, coverage }: { target: FuzzTarget; ground: Ground; coverage: Coverage },
): number {
  ground.reset();
  PROMISES[input.mode]?.prepare(ground.share);
  target.restartQueue();
  target.rewind();
  target.warnings.length = 0;
  const run = new Run(input, target, ground, coverage);
  let at = 0;
  try {
    for (; at < input.length; at++) run.step(at);
    run.end();
  } catch (error) {
    throw new Error(`request ${at}: ${run.what}: ${(error as Error).message}`, { cause: error });
  }
  return run.count;
}

class Run {
  count = 0;
  what = "";
  readonly #model = new Model();
  readonly #promises: Promises | undefined;
  readonly #favoured: readonly number[];
  #random: Random;
  #isActive = false;
  #refusals = 0;

  constructor(
    readonly input: Input,
    readonly target: FuzzTarget,
    readonly ground: Ground,
    readonly coverage: Coverage,
  ) {
    this.#random = new Random(input.seed);
    this.#promises = PROMISES[input.mode];
    this.#favoured = FAVOURED[input.mode] ?? [];
  }

  step(at: number): void {
    for (const fork of this.input.forks) {
      if (fork.at === at) this.#random = new Random(fork.seed);
    }
    const random = this.#random;
    if (random.oneIn(150)) {
      const path = this.ground.swap(random.u32());
      if (path !== null) this.#promises?.swapped(path);
    }
    if (this.target.waits && random.oneIn(4)) {
      this.target.retry();
      // What waits is read again from memory that has been used for others since: all may come of it.
      if (this.#checkWarnings()) this.#restart();
    }
    const draft: Draft = {
      random,
      model: this.#model,
      builder,
      favoured: this.#favoured,
      unique: (at + 1) * 2,
      room: 16 + 512,
      file: null,
      reply: "none",
    };
    if (!this.#isActive && (at === 0 || !random.oneIn(10))) makeInit(draft, at === 0);
    else if (random.oneIn(600)) makeInit(draft, false);
    else if (random.oneIn(900)) this.#makeDestroy(draft);
    else makeRequest(draft);
    const isMutated = at > 0 && random.oneIn(8);
    if (isMutated) mutate(draft);
    if (random.oneIn(30)) draft.room = random.below(64);
    this.#send(draft);
  }

  #makeDestroy(draft: Draft): void {
    builder.start(38, draft.unique, [0, 0]);
    builder.finish();
    this.#isActive = false;
    this.#model.clear();
  }

  #send(draft: Draft): void {
    const { random } = draft;
    const { target } = this;
    const size = Math.min(builder.size, AT.REPLY - AT.REQUEST);
    const opcode = builder.view.getUint32(4, true);
    this.what = `opcode ${opcode}, ${size} bytes, room ${draft.room}`;
    target.memory.u8.set(builder.bytes.subarray(0, size), AT.REQUEST);
    const chain = layOut(random, size, draft.room);
    if (chain.isSound && draft.room >= 16) target.memory.view.setUint32(AT.REPLY + 8, 0, true);
    const outcome = target.submit(chain, random);
    this.count++;
    const broken = this.#checkWarnings();
    this.coverage.note(opcode, outcome, chain.isSound);
    if (broken || !chain.isSound) this.#restart();
    if (!chain.isSound || outcome.used < 16) return;
    this.#refusals = outcome.status === -EIO ? this.#refusals + 1 : 0;
    // Something that was spoilt may have ended the session.
    if (this.#refusals > 4) this.#isActive = false;
    const { view } = target.memory;
    const unique = builder.view.getUint32(8, true);
    if (size >= 40 && view.getUint32(AT.REPLY + 8, true) !== unique) {
      throw new Error(`a reply to ${view.getUint32(AT.REPLY + 8, true)} and not ${unique}`);
    }
    if (FUSE_FORGETS.includes(opcode) && size >= 40) throw new Error("a reply to FORGET");
    if (outcome.status !== 0) return;
    this.#promises?.checkReply({
      request: builder.view,
      requestSize: size,
      memory: view,
      replySize: outcome.used,
    });
    if (opcode === FUSE_INIT) {
      this.#model.clear();
      this.#isActive = true;
      return;
    }
    this.#learn(draft, outcome.used, draft.reply);
  }

  #learn({ random }: Draft, used: number, reply: Draft["reply"]): void {
    const { view } = this.target.memory;
    const body = AT.REPLY + 16;
    const end = AT.REPLY + used;
    const model = this.#model;
    if ((reply === "entry" || reply === "create") && used >= 16 + 128) {
      const nodeid = view.getUint32(body, true);
      if (nodeid > 1) model.learnNode(nodeid, view.getUint32(body + 100, true), random);
      if (reply === "entry" || used < 16 + 144) return;
      const at = end - 16 >= body + 144 ? body + 144 : body + 128;
      // With shared versions 16 bytes stand between; both places are tried, one of them is made up.
      for (const open of new Set([body + 128, at])) {
        const file = {
          lo: view.getUint32(open, true),
          hi: view.getUint32(open + 4, true),
          nodeid,
        };
        model.learnOpen(file, false, random);
      }
    }
    if (reply === "open" && used >= 32) {
      const nodeid = view.getUint32(AT.REQUEST + 16, true);
      const isDirectory = view.getUint32(AT.REQUEST + 4, true) === 27;
      const file = { lo: view.getUint32(body, true), hi: view.getUint32(body + 4, true), nodeid };
      model.learnOpen(file, isDirectory, random);
    }
    if (reply === "entries") {
      for (let at = body, i = 0; at + 152 <= end && i < 4; i++) {
        const nodeid = view.getUint32(at, true);
        if (nodeid > 1) model.learnNode(nodeid, view.getUint32(at + 100, true), random);
        at += 152 + Math.ceil(view.getUint32(at + 144, true) / 8) * 8;
      }
    }
  }

  /** Throws for what must not happen; true if the queue has been broken. */
  #checkWarnings(): boolean {
    const { warnings } = this.target;
    if (warnings.length === 0) return false;
    let broken = false;
    for (const warning of warnings.splice(0)) {
      if (warning.includes("unexpectedly")) throw new Error(warning);
      if (warning.includes("is broken")) {
        broken = true;
        this.coverage.noteText(warning);
      }
    }
    return broken;
  }

  #restart(): void {
    this.target.restartQueue();
  }

  /** The guest goes. */
  end(): void {
    this.what = "the end";
    this.target.disconnect();
    this.#checkWarnings();
    const { held } = this.target;
    if (held !== EMPTY) throw new Error(`after the end of the session: ${held}`);
    this.#promises?.checkTree(this.ground.share);
  }
}
