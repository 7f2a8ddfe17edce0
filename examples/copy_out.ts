/**
 * Copies a file out of a share, through any virtio-fs daemon, with no virtual machine:
 *
 *     deno run -A examples/copy_out.ts SOCKET /path/in/share HOST_FILE
 *
 * @module
 */

import { DaemonError, Guest, GuestError } from "../mod.ts";

const PIECE_SIZE = 1024 * 1024;

/** Copies `source` of the share behind `socketPath` to the host's `target`. Returns its size in bytes. */
export async function copyOut(socketPath: string, source: string, target: string): Promise<number> {
  await using guest = await Guest.connect({ socketPath });
  using from = guest.openSync(source);
  using to = Deno.openSync(target, { write: true, create: true, truncate: true });
  const bytes = new Uint8Array(PIECE_SIZE);
  let size = 0;
  for (let count = from.readSync(bytes); count !== null; count = from.readSync(bytes)) {
    for (let done = 0; done < count;) done += to.writeSync(bytes.subarray(done, count));
    size += count;
  }
  return size;
}

if (import.meta.main) {
  const [socketPath, source, target] = Deno.args;
  if (socketPath === undefined || source === undefined || target === undefined) {
    console.error("usage: copy_out.ts SOCKET SOURCE TARGET");
    Deno.exit(2);
  }
  try {
    console.log(`${await copyOut(socketPath, source, target)} bytes`);
  } catch (error) {
    // Of the daemon, or of the file: both say in one line what is wrong.
    if (!(error instanceof DaemonError) && !(error instanceof GuestError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
