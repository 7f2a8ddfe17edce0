/**
 * Which mounts there are in a directory, from /proc/self/mountinfo (proc_pid_mountinfo(5)).
 *
 * @module
 */

/** File systems whose content the kernel makes up when it is asked: nothing tells of changes there, and walking them can take forever. */
const WITHOUT_EVENTS = new Set([
  "autofs",
  "binder",
  "binfmt_misc",
  "bpf",
  "cgroup",
  "cgroup2",
  "configfs",
  "debugfs",
  "devpts",
  "efivarfs",
  "fusectl",
  "mqueue",
  "nsfs",
  "proc",
  "pstore",
  "resctrl",
  "rpc_pipefs",
  "securityfs",
  "selinuxfs",
  "sysfs",
  "tracefs",
]);

/** A line of mountinfo. */
export interface Mount {
  readonly id: number;
  readonly path: string;
}

/** The text of mountinfo; poll(2) of that file tells when it changes. */
export const MOUNTINFO = "/proc/self/mountinfo";

/** The mounts below `directory` (a real path), outer ones first. One that hides another at the same place is the last of them. */
export function mountsBelow(directory: string, mountinfo: string): Mount[] {
  const prefix = directory === "/" ? "/" : `${directory}/`;
  const mounts: Mount[] = [];
  for (const line of mountinfo.split("\n")) {
    const [before, after] = line.split(" - ");
    const fields = before!.split(" ");
    const path = unescape(fields[4] ?? "");
    if (!path.startsWith(prefix) || path === directory) continue;
    if (WITHOUT_EVENTS.has(after?.split(" ")[0] ?? "")) continue;
    mounts.push({ id: Number(fields[0]), path });
  }
  return mounts;
}

/** Spaces, tabs, newlines and backslashes are three octal digits there. */
function unescape(field: string): string {
  return field.replace(
    /\\([0-7]{3})/g,
    (_, digits: string) => String.fromCharCode(parseInt(digits, 8)),
  );
}
