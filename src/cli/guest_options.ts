/**
 * Options of the commands that are a guest: how to connect and how to cache.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { option } from "@optique/core/primitives";
import type { InferValue } from "@optique/core/parser";
import { choice, integer } from "@optique/core/valueparser";
import type { SessionOptions } from "../guest/session.ts";
import { lastOf } from "./parse.ts";

/** The options, for a command's parser to merge. */
export const guestOptions = object("Guest options", {
  cache: lastOf(
    option("--cache", choice(["auto", "none", "always", "shared"], { metavar: "MODE" }), {
      description:
        message`How far the guest trusts what it knows. auto (the default): as long as the daemon says; none: never; always: for a day; shared: until somebody changes it (for daemons with --cache shared).`,
    }),
  ),
  dax: lastOf(
    option("--dax", choice(["never", "inode", "always"], { metavar: "MODE" }), {
      description:
        message`Map files into the daemon's DAX window. inode (the default): those that the daemon marks, if it has a window; always: all; never: none.`,
    }),
  ),
  queues: lastOf(option("--num-request-queues", integer({ min: 1, max: 64, metavar: "N" }), {
    description: message`Request queues to use, where the device has them (default 1).`,
  })),
  pollUs: lastOf(option("--poll-us", integer({ min: 0, max: 1_000_000, metavar: "US" }), {
    description: message`Microseconds to watch the rings before sleeping (default 0).`,
  })),
  timeout: lastOf(option("--timeout", integer({ min: 0, max: 86_400, metavar: "SECONDS" }), {
    description: message`How long the daemon may take for an answer; 0 is for ever (default 60).`,
  })),
});

/** What was given. */
export type GuestOptionValues = InferValue<typeof guestOptions>;

/** As options of a session, without the socket. */
export function sessionOptions(values: GuestOptionValues): Omit<SessionOptions, "socketPath"> {
  return {
    ...(values.cache === undefined ? {} : { cache: values.cache }),
    ...(values.dax === undefined ? {} : { dax: values.dax }),
    ...(values.queues === undefined ? {} : { queueCount: values.queues }),
    ...(values.pollUs === undefined ? {} : { pollMicroseconds: values.pollUs }),
    ...(values.timeout === undefined ? {} : { timeoutMs: values.timeout * 1000 }),
  };
}
