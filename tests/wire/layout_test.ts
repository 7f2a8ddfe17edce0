import { equal } from "node:assert/strict";
import { deepEqual, notEqual } from "node:assert/strict";
import {
  askCompiler,
  differences,
  haveCompiler,
  RECORDED_LAYOUTS,
  type RecordedLayouts,
} from "../../tools/layout_check.ts";
import { Opcode, OPCODE_COUNT } from "../../src/wire/fuse.ts";
import { architectureFacts, headerFacts } from "./header_names.ts";

const recorded: RecordedLayouts = JSON.parse(Deno.readTextFileSync(RECORDED_LAYOUTS));

/** The one number that old headers have another answer to. */
const VERSION = "FUSE_KERNEL_MINOR_VERSION";

Deno.test(`all offsets, sizes and constants are those of ${recorded.headers}`, () => {
  const facts = headerFacts();
  const unanswered = facts.filter((fact) => recorded.answers[fact.question] === undefined);
  deepEqual(unanswered.map((fact) => `${fact.ours} (${fact.question})`), []);
  deepEqual(differences(facts, recorded.answers), []);
});

Deno.test("a wrong offset is found", () => {
  const wrong = headerFacts().map((fact) =>
    fact.question === "fuse_attr.mode" ? { ...fact, value: fact.value + 4 } : fact
  );
  equal(differences(wrong, recorded.answers).length, 1);
});

Deno.test("OPCODE_COUNT is one more than the largest opcode", () => {
  equal(OPCODE_COUNT, Math.max(...Object.values(Opcode)) + 1);
});

const compiler = await haveCompiler();

Deno.test({
  name: "this machine's compiler and headers agree with the record",
  // Without a C compiler the record alone is compared, by the first test.
  ignore: !compiler,
  fn: async () => {
    const questions = Object.keys(recorded.answers).filter((question) => question !== VERSION);
    const answers = await askCompiler(questions);
    // Headers older than the record know fewer structs, but most of them.
    notEqual(Object.keys(answers).length < questions.length / 2, true);
    for (const [question, answer] of Object.entries(answers)) {
      equal(answer, recorded.answers[question], question);
    }
  },
});

Deno.test({
  name: "system call numbers, open flags and epoll_event are this machine's",
  ignore: !compiler,
  fn: async () => {
    const facts = architectureFacts();
    const questions = new Set(facts.map((fact) => fact.question));
    const answers = await askCompiler([...questions]);
    equal(Object.keys(answers).length, questions.size);
    deepEqual(differences(facts, answers), []);
  },
});
