/**
 * `inspect versions` for the terminal.
 *
 * @module
 */

import { printable } from "./display_width.ts";
import type { OwnerRow, VersionRow, VersionsView } from "./snapshot.ts";
import { type Before, rateNote, rateText, type TextLayout } from "./text_layout.ts";
import { textTable } from "./text_table.ts";
import { ageText, bytesText, countText } from "./units.ts";
import { VERSION_SLOT_SIZE } from "../wire/shared_versions.ts";

/** The table, the daemons that use it, and its slots. */
export function versionsText(
  view: VersionsView,
  layout: TextLayout,
  before: Before<VersionsView> | null,
): string[] {
  const pids = new Map(view.owners.map(({ owner, pid }) => [owner, pid]));
  const earlier = new Map(before?.view.rows.map((row) => [row.slot, row]));
  const owners = textTable<OwnerRow>(
    [
      { title: "OWNER", isFigure: true, cell: ({ owner }) => `${owner}` },
      { title: "PID", isFigure: true, cell: ({ pid }) => `${pid}` },
      { title: "STATE", cell: ({ alive }) => alive ? "alive" : "dead" },
      { title: "SINCE", isFigure: true, cell: ({ since }) => ageText(layout.now - since) },
      { title: "SLOTS", isFigure: true, cell: ({ slots }) => countText(slots) },
    ],
    view.owners,
    layout.width,
  );
  const slots = textTable<VersionRow>(
    [
      { title: "SLOT", isFigure: true, cell: ({ slot }) => `${slot}` },
      { title: "VERSION", isFigure: true, cell: ({ changes }) => countText(changes) },
      {
        title: "/S",
        isFigure: true,
        cell: (row) =>
          rateText(row.changes, before, () => earlier.get(row.slot)?.changes ?? row.changes),
      },
      {
        title: "CHANGING",
        isFigure: true,
        cell: ({ inProgress }) => inProgress === 0 ? "-" : `${inProgress}`,
      },
      { title: "DEV:INO", cell: ({ device, ino }) => `${device} ${ino}` },
      { title: "PATH", shortens: "middle", cell: ({ path }) => path ?? "-" },
      {
        title: "USED BY",
        shortens: "end",
        cell: ({ owners }) => owners.map((owner) => pids.get(owner) ?? `owner ${owner}`).join(" "),
      },
    ],
    view.rows,
    layout.width,
  );
  const more = view.used - view.rows.length;
  return [
    `${printable(view.path)}: ${countText(view.slotCount)} slots (${
      bytesText(view.slotCount * VERSION_SLOT_SIZE)
    }), ${countText(view.used)} used, ${countText(view.free)} free`,
    `${countText(view.refusals)} inodes got no slot, ${
      countText(view.sweeps)
    } dead daemons were swept up after`,
    "",
    ...owners,
    "",
    ...slots,
    ...(more > 0 ? [`… and ${countText(more)} more (--limit 0 for all)`] : []),
    ...rateNote(before),
  ];
}
