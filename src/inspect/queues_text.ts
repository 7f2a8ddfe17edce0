/**
 * `inspect queues` for the terminal.
 *
 * @module
 */

import type { QueueRow, QueuesView, RequestRow } from "./snapshot.ts";
import { type Before, rateNote, rateText, type TextLayout } from "./text_layout.ts";
import { textFacts, textTable } from "./text_table.ts";
import { bytesText, countText, nanosecondsText } from "./units.ts";

/** Rings, requests under way, and what was agreed on. */
export function queuesText(
  view: QueuesView,
  layout: TextLayout,
  before: Before<QueuesView> | null,
): string[] {
  const earlier = new Map(before?.view.rows.map((row) => [row.queue, row]));
  const rings = textTable<QueueRow>(
    [
      { title: "QUEUE", isFigure: true, cell: ({ queue }) => `${queue}` },
      { title: "KIND", cell: ({ kind }) => kind },
      { title: "STATE", cell: ({ state }) => state },
      { title: "SIZE", isFigure: true, cell: ({ size }) => `${size}` },
      { title: "AVAIL", isFigure: true, cell: ({ nextAvail }) => `${nextAvail}` },
      { title: "USED", isFigure: true, cell: ({ nextUsed }) => `${nextUsed}` },
      { title: "REQUESTS", isFigure: true, cell: ({ requests }) => countText(requests) },
      {
        title: "/S",
        isFigure: true,
        cell: (row) => rateText(row.requests, before, () => earlier.get(row.queue)?.requests),
      },
      { title: "KICKS", isFigure: true, cell: ({ kicks }) => countText(kicks) },
      { title: "NOTIFIED", isFigure: true, cell: (row) => countText(row.notifications) },
      { title: "SUPPRESSED", isFigure: true, cell: ({ suppressed }) => countText(suppressed) },
      { title: "BATCHES", isFigure: true, cell: ({ batches }) => countText(batches) },
      { title: "LARGEST", isFigure: true, cell: ({ batchMax }) => countText(batchMax) },
    ],
    view.rows,
    layout.width,
  );
  return [
    ...rings,
    "",
    ...outstandingText(view.rows, layout),
    "",
    ...textFacts([
      ["Virtio", listText(view.features)],
      ["Vhost-user", listText(view.protocolFeatures)],
      ["FUSE", listText(view.fuseFlags)],
      ["Memory", regionsText(view.regions)],
    ], layout.width),
    ...rateNote(before),
  ];
}

function outstandingText(rows: readonly QueueRow[], layout: TextLayout): string[] {
  const requests = rows.flatMap((row) =>
    row.outstanding.map((request) => ({ ...request, queue: row.queue }))
  );
  if (requests.length === 0) return ["No request is outstanding."];
  const lines = textTable<RequestRow & { readonly queue: number }>(
    [
      { title: "QUEUE", isFigure: true, cell: ({ queue }) => `${queue}` },
      { title: "OUTSTANDING", cell: ({ name }) => name },
      { title: "NODEID", isFigure: true, cell: ({ nodeid }) => `${nodeid}` },
      { title: "STATE", cell: ({ state }) => state },
      {
        title: "AGE",
        isFigure: true,
        cell: ({ since }) => nanosecondsText(Math.max(0, layout.now - since) * 1e6),
      },
    ],
    requests.sort((a, b) => a.since - b.since),
    layout.width,
  );
  const listed = requests.filter(({ state }) => state === "waiting").length;
  const more = rows.reduce((sum, { waiting }) => sum + (waiting ?? 0), 0) - listed;
  return more > 0 ? [...lines, `… and ${countText(more)} more that wait`] : lines;
}

function listText(names: readonly string[]): string {
  return names.length === 0 ? "nothing agreed on" : names.join(" ");
}

function regionsText(regions: QueuesView["regions"]): string {
  if (regions.length === 0) return "none";
  return regions
    .map(({ guestAddress, size }) => `${bytesText(size)} at 0x${guestAddress.toString(16)}`)
    .join(", ");
}
