/**
 * Which of the POSIX suite's optional needs a guest does not have, by its kernel and its configuration. The
 * checks that need them are left out in the guest, and only there.
 *
 * @module
 */
import type { GuestConfiguration } from "./configurations.ts";

/** The names for the suite's `--without`. */
export function missingPosixNeeds(
  configuration: GuestConfiguration,
  [major, minor]: readonly [number, number],
): string[] {
  const missing: string[] = [];
  // The guest kernel sends FUSE_TMPFILE from 6.1 on.
  if (major < 6 || (major === 6 && minor < 1)) missing.push("tmpfile");
  if (!configuration.xattr) missing.push("xattr", "trusted-xattr");
  if (configuration.cache === "never" || configuration.cache === "metadata") {
    missing.push("shared-mmap");
  }
  // With write-back the daemon cannot know what is a hole, and does not say.
  if (configuration.writeback) missing.push("seek-data");
  return missing;
}
