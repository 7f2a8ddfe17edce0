/**
 * `inspect inodes` for the terminal.
 *
 * @module
 */

import type { InodeRow, InodesView } from "./snapshot.ts";
import type { TextLayout } from "./text_layout.ts";
import { textTable } from "./text_table.ts";
import { countText } from "./units.ts";

/** A line for each inode, then totals. */
export function inodesText(view: InodesView, layout: TextLayout): string[] {
  const lines = textTable<InodeRow>(
    [
      { title: "NODEID", isFigure: true, cell: ({ nodeid }) => `${nodeid}` },
      { title: "PATH", shortens: "middle", cell: ({ path }) => path ?? "-" },
      { title: "DEV:INO", cell: ({ device, ino }) => `${device} ${ino}` },
      { title: "MODE", isFigure: true, cell: ({ mode }) => mode.toString(8) },
      { title: "LOOKUPS", isFigure: true, cell: ({ lookups }) => countText(lookups) },
      { title: "OPEN", isFigure: true, cell: ({ openHandles }) => countText(openHandles) },
      {
        title: "HELD BY",
        cell: ({ descriptor }) => descriptor === null ? "file handle" : `fd ${descriptor}`,
      },
      {
        title: "VERSION",
        isFigure: true,
        cell: ({ versionSlot }) => versionSlot === 0 ? "-" : `${versionSlot}`,
      },
      {
        title: "DAX",
        isFigure: true,
        cell: ({ dax, mappings }) => dax || mappings > 0 ? `${mappings} mapped` : "-",
      },
    ],
    view.rows,
    layout.width,
  );
  const handles = view.handlesOff === null ? [] : [`File handles are off: ${view.handlesOff}.`];
  return [
    ...lines,
    "",
    `${countText(view.rows.length)} of ${countText(view.total)} inodes; descriptors: ${
      countText(view.descriptors)
    } of ${countText(view.descriptorLimit)}; open handles: ${countText(view.openHandles)}.`,
    ...handles,
  ];
}
