/**
 * The benchmark's data file through system calls of the guest.
 *
 * @module
 */

import { GuestCalls } from "../guest/vfs/calls.ts";
import { Process } from "../guest/vfs/process.ts";
import { O_RDWR } from "../wire/linux.ts";
import type { Place } from "./place.ts";

/** Runs `act` with the data file open for reading and writing. */
export function onDataFile<T>(place: Place, act: (calls: GuestCalls, fd: number) => T): T {
  const { volume, client } = place.session;
  const calls = new GuestCalls(volume, new Process(client.caller, volume.root));
  const fd = place.must(calls.open(`${place.path}/data`, O_RDWR), "open");
  try {
    return act(calls, fd);
  } finally {
    calls.close(fd);
  }
}
