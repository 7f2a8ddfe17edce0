/**
 * Every workload, in the order in which they are run.
 *
 * @module
 */
import { appendByMany, appendFromTwoSides } from "./appends.ts";
import { birthTime, fileSystemSize, modesAndTimes, specialFiles } from "./attributes.ts";
import { bigFile, copyRange, directIo, freshData, preallocate, sparse, truncate } from "./data.ts";
import { concurrentCreators, manyFiles, readdirWhileModified } from "./directories.ts";
import { hardLinks, symbolicLinks } from "./links.ts";
import { guestLocks, hostLocks } from "./locks.ts";
import { memoryMaps } from "./mappings.ts";
import { longNames, rawNames } from "./names.ts";
import { readOnly } from "./readonly.ts";
import { atomicReplace, renameFlags, renameStorm } from "./renames.ts";
import { compile, unpackTree } from "./trees.ts";
import { openUnlinked, temporaryFile } from "./unlinked.ts";
import { denied, groups, owners, privilegeBits } from "./users.ts";
import { hostChanges } from "./visibility.ts";
import type { Workload } from "./workload.ts";
import { acls, xattrs, xattrsOff } from "./xattrs.ts";

/** The workloads of the guest suite. */
export const WORKLOADS: readonly Workload[] = [
  modesAndTimes,
  birthTime,
  fileSystemSize,
  specialFiles,
  hardLinks,
  symbolicLinks,
  longNames,
  rawNames,
  renameFlags,
  openUnlinked,
  temporaryFile,
  truncate,
  sparse,
  freshData,
  preallocate,
  copyRange,
  directIo,
  memoryMaps,
  xattrs,
  xattrsOff,
  acls,
  owners,
  denied,
  groups,
  privilegeBits,
  guestLocks,
  hostLocks,
  hostChanges,
  appendByMany,
  appendFromTwoSides,
  atomicReplace,
  renameStorm,
  concurrentCreators,
  readdirWhileModified,
  unpackTree,
  compile,
  bigFile,
  manyFiles,
  readOnly,
];
