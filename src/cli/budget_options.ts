/**
 * Options of `serve` that bound what a guest can make the daemon hold.
 *
 * @module
 */

import { group, object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import type { InferValue } from "@optique/core/parser";
import { option } from "@optique/core/primitives";
import { integer } from "@optique/core/valueparser";
import type { GuestBudget } from "../config.ts";
import { lastOf } from "./parse.ts";

/** The tables have no more room than about this. */
const COUNT_MAX = 1 << 24;
const count = (min: number) => integer({ metavar: "N", min, max: COUNT_MAX });

/** The options, for the parser of `serve`. */
export const budgetOptions = group(
  "Budgets of a guest",
  object({
    maxInodes: lastOf(option("--max-inodes", count(2), {
      description:
        message`Files and directories that the guest may know at a time, at some 200 bytes each; then ENFILE. Default: 16 for each descriptor of --rlimit-nofile, 1 to 16 millions.`,
    })),
    maxOpenFiles: lastOf(option("--max-open-files", count(1), {
      description:
        message`Files and directories that it may have open; then ENFILE. Default: what the descriptors allow.`,
    })),
    maxLocks: lastOf(option("--max-locks", count(0), {
      description:
        message`POSIX locks on the host (--posix-lock): owners, counted for each file, and separate ranges of bytes; then ENOLCK. Default 65535.`,
    })),
    maxMappings: lastOf(option("--max-mappings", count(0), {
      description:
        message`Pieces of files in its DAX window; then ENOMEM. Default: what the front end bears.`,
    })),
  }),
);

/** What was given of them. */
export type BudgetOptions = InferValue<typeof budgetOptions>;

/** The budget that they describe. */
export function budgetConfig(options: BudgetOptions): GuestBudget {
  return {
    inodes: options.maxInodes ?? null,
    openFiles: options.maxOpenFiles ?? null,
    locks: options.maxLocks ?? null,
    mappings: options.maxMappings ?? null,
  };
}
