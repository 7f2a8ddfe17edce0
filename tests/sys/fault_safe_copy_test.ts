import { deepEqual, equal } from "node:assert/strict";
import {
  machineCode,
  readMapped,
  readUntouched,
  viaKernel,
  writeMapped,
  writeUntouched,
} from "../../src/sys/fault_safe_copy.ts";
import { libc, status } from "../../src/sys/libc.ts";
import { Mapping } from "../../src/sys/mapping.ts";

const PAGE = 4096;
/** Of copies that met the file's end while it moved. */
const FAULTS = 20;
const DEADLINE_MS = 60_000;

/** A file of `size` bytes, each telling its place, mapped; and its path. */
function mapped(size: number): { path: string; fd: number; mapping: Mapping } {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(size).map((_, i) => i % 251));
  const fd = status(libc.open(new TextEncoder().encode(path + "\0"), 2, 0));
  return { path, fd, mapping: new Mapping(fd, 0, Math.ceil(size / PAGE) * PAGE) };
}

const copiers = { "machine code": machineCode(), "process_vm_readv": viaKernel() };

for (const [name, copier] of Object.entries(copiers)) {
  Deno.test({
    name: `copies end where the mapped file ends: ${name}`,
    ignore: copier === null,
    fn() {
      const { path, fd, mapping } = mapped(4 * PAGE);
      const { read, write } = copier!;
      const all = Deno.readFileSync(path);
      for (const [from, at, size] of [[0, 0, 4 * PAGE], [1, 7, 5000], [4095, 3, 2], [9, 0, 0]]) {
        const into = new Uint8Array(4 * PAGE + 7);
        equal(read(mapping.address + from!, into, at!, size!), size);
        const expected = new Uint8Array(into.length);
        expected.set(all.subarray(from, from! + size!), at);
        deepEqual(into, expected);
      }
      const small = new Uint8Array([1, 2, 3]);
      equal(write(mapping.address + 5000, small, 1, 2), 2);
      deepEqual([...Deno.readFileSync(path).subarray(4999, 5003)], [
        all[4999],
        2,
        3,
        all[5002],
      ]);
      Deno.truncateSync(path, PAGE + 10);
      const into = new Uint8Array(4 * PAGE);
      equal(read(mapping.address, into, 0, 4 * PAGE), 2 * PAGE, "the page of the end is there");
      equal(read(mapping.address + 2 * PAGE, into, 0, 1), 0);
      equal(read(mapping.address + 2 * PAGE - 3, into, 0, 100), 3);
      equal(write(mapping.address + 2 * PAGE - 3, into, 0, 100), 3);
      equal(write(mapping.address + 3 * PAGE, into, 0, 1), 0);
      equal(read(mapping.address, into, 0, 10), 10, "and it goes on");
      mapping.unmap();
      libc.close(fd);
      Deno.removeSync(path);
    },
  });
}

Deno.test("a file that is cut short and grows in a loop, by another process, crashes no copy", () => {
  const { path, fd, mapping } = mapped(16 * PAGE);
  const into = new Uint8Array(16 * PAGE);
  const script = `for (let i = 0;; i++) Deno.truncateSync(${JSON.stringify(path)}, ` +
    `i % 2 ? 0 : ${16 * PAGE})`;
  const other = new Deno.Command(Deno.execPath(), { args: ["eval", script] }).spawn();
  const deadline = Date.now() + DEADLINE_MS;
  let faults = 0;
  while (faults < FAULTS && Date.now() < deadline) {
    if (readMapped(mapping.address, into, 0, into.length) < into.length) faults++;
    if (writeMapped(mapping.address, into, 0, into.length) < into.length) faults++;
    if (readUntouched(mapping.address, into, 0, into.length) < into.length) faults++;
    if (writeUntouched(mapping.address, into, 0, into.length) < into.length) faults++;
  }
  other.kill("SIGKILL");
  return other.status.then(() => {
    equal(faults >= FAULTS, true, `${faults} faults`);
    mapping.unmap();
    libc.close(fd);
    Deno.removeSync(path);
  });
});

Deno.test("a fault elsewhere ends the process as ever", async () => {
  const script = `
    import { readMapped } from ${
    JSON.stringify(import.meta.resolve("../../src/sys/fault_safe_copy.ts"))
  };
    import { NativeMemory } from ${
    JSON.stringify(import.meta.resolve("../../src/sys/native_memory.ts"))
  };
    readMapped(NativeMemory.allocate(4096).address, new Uint8Array(8), 0, 8);
    console.log("copied");
    const memory = new NativeMemory(4096, 4096);
    console.log("unreachable", memory.u8[0]);`;
  const { signal, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `data:application/typescript,${encodeURIComponent(script)}`],
  }).output();
  equal(new TextDecoder().decode(stdout), "copied\n");
  equal(signal, "SIGSEGV");
});
