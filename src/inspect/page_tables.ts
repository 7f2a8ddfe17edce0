/**
 * The page's other tables: inodes, queues, shared versions.
 *
 * @module
 */

import { escaped, facts, table } from "./html.ts";
import type { TableReport } from "./report.ts";
import type { InodesView, QueuesView } from "./snapshot.ts";
import { ageText, bytesText, countText, timeText } from "./units.ts";

/** Totals, and the inodes by lookups. */
export function inodesSection(view: InodesView): string {
  const totals = facts([
    ["Known inodes", countText(view.total)],
    ["Descriptors", `${countText(view.descriptors)} of ${countText(view.descriptorLimit)}`],
    ["Open handles", countText(view.openHandles)],
    ...(view.handlesOff === null ? [] : [["File handles are off", view.handlesOff] as const]),
  ]);
  return totals + table([
    { title: "Node", kind: "figure", cell: ({ nodeid }) => String(nodeid) },
    { title: "Path", kind: "path", cell: ({ path }) => path ?? "" },
    { title: "Device:inode", cell: ({ device, ino }) => `${device} ${ino}` },
    { title: "Mode", kind: "figure", cell: ({ mode }) => mode.toString(8) },
    { title: "Lookups", kind: "figure", cell: ({ lookups }) => countText(lookups) },
    { title: "Open", kind: "figure", cell: ({ openHandles }) => countText(openHandles) },
    {
      title: "Held by",
      cell: ({ heldBy, descriptor }) => descriptor === null ? heldBy : `descriptor ${descriptor}`,
    },
    {
      title: "Version",
      kind: "figure",
      cell: ({ versionSlot }) => versionSlot === 0 ? "" : String(versionSlot),
    },
    { title: "DAX", cell: ({ dax, mappings }) => dax ? `${mappings} mapped` : "" },
  ], view.rows.toSorted((a, b) => b.lookups - a.lookups));
}

/** Queues, what they work on, and what was agreed on. */
export function queuesSection(view: QueuesView, now: number): string {
  const rings = table([
    { title: "Queue", kind: "figure", cell: ({ queue }) => String(queue) },
    { title: "For", cell: ({ kind }) => kind },
    { title: "State", cell: ({ state }) => state },
    { title: "Size", kind: "figure", cell: ({ size }) => String(size) },
    {
      title: "Next avail, used",
      kind: "figure",
      cell: ({ nextAvail, nextUsed }) => `${nextAvail}, ${nextUsed}`,
    },
    { title: "Requests", kind: "figure", cell: ({ requests }) => countText(requests) },
    { title: "Kicks", kind: "figure", cell: ({ kicks }) => countText(kicks) },
    { title: "Batches", kind: "figure", cell: ({ batches }) => countText(batches) },
    { title: "Largest", kind: "figure", cell: ({ batchMax }) => countText(batchMax) },
    { title: "Notified", kind: "figure", cell: (row) => countText(row.notifications) },
    { title: "Not wanted", kind: "figure", cell: ({ suppressed }) => countText(suppressed) },
  ], view.rows);
  const outstanding = table(
    [
      { title: "Queue", kind: "figure", cell: ({ queue }) => String(queue) },
      { title: "Request", cell: ({ name }) => name },
      { title: "Node", kind: "figure", cell: ({ nodeid }) => String(nodeid) },
      { title: "State", cell: ({ state }) => state },
      { title: "Age", kind: "figure", cell: ({ since }) => ageText(now - since) },
    ],
    view.rows.flatMap(({ queue, outstanding }) => outstanding.map((row) => ({ queue, ...row }))),
  );
  const regions = view.regions.map(({ guestAddress, size }) =>
    `0x${guestAddress.toString(16)}: ${bytesText(size)}`
  );
  const agreed = facts([
    ["Virtio features", view.features.join(", ")],
    ["vhost-user features", view.protocolFeatures.join(", ")],
    ["FUSE flags", view.fuseFlags.join(", ")],
    ["Guest memory", regions.join(", ")],
  ]);
  return `${rings}<h3>Outstanding requests</h3>${outstanding}${agreed}`;
}

/** One version table: who uses it, and which inodes have a version. */
export function versionsSection(view: TableReport): string {
  const dead = view.owners.filter(({ alive }) => !alive).length;
  const totals = facts([
    ["Slots", countText(view.slotCount)],
    ["In use", view.used === null ? "?" : countText(view.used)],
    ["Free", view.free === null ? "?" : countText(view.free)],
    ["Inodes without a slot", countText(view.refusals)],
    ["Daemons", `${view.owners.length - dead}${dead === 0 ? "" : ` and ${dead} dead`}`],
    ["Sweeps", countText(view.sweeps)],
  ]);
  const pids = new Map(view.owners.map(({ owner, pid }) => [owner, pid]));
  const owners = table([
    { title: "Daemon", kind: "figure", cell: ({ owner }) => String(owner) },
    { title: "Pid", kind: "figure", cell: ({ pid }) => String(pid) },
    { title: "Since", cell: ({ since }) => timeText(since) },
    { title: "Alive", cell: ({ alive }) => alive ? "yes" : "no" },
    { title: "Slots", kind: "figure", cell: ({ slots }) => countText(slots) },
  ], view.owners);
  const slots = table([
    { title: "Slot", kind: "figure", cell: ({ slot }) => String(slot) },
    { title: "Changes", kind: "figure", cell: ({ changes }) => countText(changes) },
    { title: "In progress", kind: "figure", cell: ({ inProgress }) => String(inProgress) },
    { title: "Device:inode", cell: ({ device, ino }) => `${device} ${ino}` },
    { title: "Path", kind: "path", cell: ({ path }) => path ?? "" },
    {
      title: "Used by",
      cell: (row) => row.owners.map((owner) => pids.get(owner) ?? `daemon ${owner}`).join(", "),
    },
  ], view.rows.toSorted((a, b) => b.changes - a.changes));
  return `<h2>Version table ${escaped(view.path)}</h2>
<section class="versions">${totals}<h3>Daemons</h3>${owners}<h3>Versions</h3>${slots}</section>`;
}
