/**
 * What the operator can do where the kernel allows no sandbox of the kind that was asked for.
 *
 * @module
 */

import type { SandboxMode } from "../isolation_config.ts";
import { EINVAL, ENOSPC, EPERM, errnoName } from "../sys/errno.ts";
import { CAPABILITY } from "../wire/isolation.ts";
import { members, ownCapabilities } from "./capabilities.ts";

/** Calls that a root fails which is no mount point. */
const ROOT_CALLS = /pivot_root|parting from the host's mounts/;

/** One line: `what` was refused with an errno, by a call of that name in the plan. */
export function refusal(what: string, errno: number, sandbox: SandboxMode, call = ""): string {
  const text = `${what} is refused: ${errnoName(errno)}`;
  if (sandbox === "none") return text;
  return `${text}${reason(errno, sandbox, call)}; use ${alternatives(sandbox)}`;
}

/** Why `--sandbox chroot` cannot be; null if it can. It is found out early: the server would have to start first. */
export function chrootObstacle(sandbox: SandboxMode): string | null {
  if (sandbox !== "chroot" || mayChroot()) return null;
  return `--sandbox chroot takes CAP_SYS_CHROOT, which this process has not; use ${
    alternatives(sandbox)
  }`;
}

function reason(errno: number, sandbox: SandboxMode, call: string): string {
  if (sandbox === "chroot") return "";
  if (errno === -EINVAL && ROOT_CALLS.test(call)) {
    return " (this process's root is no mount point, as in a chroot)";
  }
  if (errno === -EPERM || errno === -EINVAL || errno === -ENOSPC) {
    return " (namespaces are not to be had here, as in many containers)";
  }
  return "";
}

/** The other modes, as far as it is known that they are to be had. */
function alternatives(sandbox: SandboxMode): string {
  const others: string[] = [];
  if (sandbox === "namespace" && mayChroot()) others.push("--sandbox chroot");
  // Ordinary users get namespaces by a user namespace.
  if (sandbox === "chroot" && Deno.uid() !== 0) others.push("--sandbox namespace");
  return [...others, "--sandbox none"].join(" or ");
}

function mayChroot(): boolean {
  return members(ownCapabilities()).includes(CAPABILITY.SYS_CHROOT);
}
