/**
 * A process that makes one version table after another, at the same instants as others do. Prints the tables' identities.
 *
 *     maker_process.ts DIRECTORY ROUNDS MAKERS NUMBER
 *
 * With one maker there is nobody to wait for.
 *
 * @module
 */

import { VersionFiles } from "../../src/coherence/version_files.ts";
import { OwnedFd } from "../../src/sys/fd.ts";
import { Mapping } from "../../src/sys/mapping.ts";
import { tryOpen } from "../../src/coherence/version_file_access.ts";
import { O_RDWR } from "../../src/wire/linux.ts";
import { VERSION_TABLE } from "../../src/wire/shared_versions.ts";

/** In the directory: a word per maker, the round that it has come to. */
export const BARRIER = "barrier";
/** Nobody waits longer for somebody who is not there. */
const PATIENCE_MS = 60_000;

function make(directory: string, rounds: number, makers: number, number: number): string[] {
  using fd = new OwnedFd(tryOpen(`${directory}/${BARRIER}`, O_RDWR));
  const words = new Mapping(fd.number, 0, 4096).memory.i32;
  const identities: string[] = [];
  for (let round = 1; round <= rounds; round++) {
    Atomics.store(words, number, round);
    const end = Date.now() + PATIENCE_MS;
    for (let other = 0; other < makers; other++) {
      while (Atomics.load(words, other) < round) {
        if (Date.now() > end) throw new Error(`maker ${other} does not come to round ${round}`);
      }
    }
    const files = VersionFiles.open({ path: `${directory}/${round}`, slotCount: 64 });
    const { u32 } = files.table.memory;
    const identity = VERSION_TABLE.IDENTITY >>> 2;
    identities.push(`${u32[identity]} ${u32[identity + 1]}`);
    files.close();
  }
  return identities;
}

const [directory = "", rounds, makers, number] = Deno.args;
console.log(JSON.stringify(make(directory, Number(rounds), Number(makers), Number(number))));
