/**
 * The daemons of this host.
 *
 * @module
 */

import { type DaemonState, openRunning } from "./daemon_state.ts";
import { InspectError, NotStateError } from "./inspect_error.ts";
import { descriptorOf, stateMappings } from "./state_mappings.ts";

/** Who was found. */
export interface FoundDaemons extends Disposable {
  readonly daemons: readonly DaemonState[];
  /** Processes that could not be looked into: those of other users, unless this is root. */
  readonly unreadable: number;
  /** Why something that is a state memory cannot be shown: a line each. */
  readonly refused: readonly string[];
}

/** Opens the state of every daemon: one for each process and state memory, by pid. */
export function findDaemons(): FoundDaemons {
  const { found, unreadable } = stateMappings();
  const daemons: DaemonState[] = [];
  const refused: string[] = [];
  for (const mapping of found) {
    const fd = descriptorOf(mapping);
    if (fd < 0) continue;
    try {
      daemons.push(openRunning(mapping.pid, fd));
    } catch (error) {
      if (!(error instanceof InspectError)) throw error;
      // A large file that somebody has mapped is not of interest.
      if (mapping.isCertain || !(error instanceof NotStateError)) refused.push(error.message);
    }
  }
  return {
    daemons,
    unreadable,
    refused,
    [Symbol.dispose]: () => daemons.forEach((daemon) => daemon[Symbol.dispose]()),
  };
}
