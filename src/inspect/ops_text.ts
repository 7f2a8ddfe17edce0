/**
 * `inspect ops` for the terminal.
 *
 * @module
 */

import type { OpcodeRow, OpsView } from "./snapshot.ts";
import { type Before, rateNote, rateText, type TextLayout } from "./text_layout.ts";
import { textTable } from "./text_table.ts";
import { bytesText, countText, nanosecondsText } from "./units.ts";

/** A line for each queue and opcode, those that took most time first. */
export function opsText(
  view: OpsView,
  layout: TextLayout,
  before: Before<OpsView> | null,
): string[] {
  if (view.rows.length === 0) return ["No request has been answered yet."];
  const key = ({ queue, opcode }: OpcodeRow) => queue * 256 + opcode;
  const earlier = new Map(before?.view.rows.map((row) => [key(row), row]));
  const rows = view.rows.toSorted((a, b) => b.totalNs - a.totalNs);
  const lines = textTable<OpcodeRow>(
    [
      { title: "QUEUE", isFigure: true, cell: ({ queue }) => `${queue}` },
      { title: "OPCODE", cell: ({ name }) => name },
      { title: "COUNT", isFigure: true, cell: ({ requests }) => countText(requests) },
      {
        title: "/S",
        isFigure: true,
        cell: (row) => rateText(row.requests, before, () => earlier.get(key(row))?.requests),
      },
      { title: "MEDIAN", isFigure: true, cell: ({ medianNs }) => nanosecondsText(medianNs) },
      { title: "P99", isFigure: true, cell: ({ p99Ns }) => nanosecondsText(p99Ns) },
      { title: "MAX", isFigure: true, cell: ({ maxNs }) => nanosecondsText(maxNs) },
      { title: "IN", isFigure: true, cell: ({ bytesIn }) => bytesText(bytesIn) },
      { title: "OUT", isFigure: true, cell: ({ bytesOut }) => bytesText(bytesOut) },
      { title: "ERRORS", shortens: "end", cell: errorsOf },
    ],
    rows,
    layout.width,
  );
  return [...lines, ...rateNote(before)];
}

function errorsOf({ errnos }: OpcodeRow): string {
  return Object.entries(errnos)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${countText(count)} ${name}`)
    .join(", ");
}
