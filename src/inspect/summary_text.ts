/**
 * The list of daemons, and one daemon, for the terminal.
 *
 * @module
 */

import type { DaemonSummary, DaemonsView } from "./snapshot.ts";
import { type Before, rateNote, rateText, type TextLayout } from "./text_layout.ts";
import { textFacts, textTable } from "./text_table.ts";
import { ageText, countText, timeText } from "./units.ts";

/** A line for each daemon. */
export function daemonsText(
  view: DaemonsView,
  layout: TextLayout,
  before: Before<DaemonsView> | null,
): string[] {
  const earlier = new Map(before?.view.daemons.map((daemon) => [daemon.pid, daemon]));
  const lines = textTable<DaemonSummary>(
    [
      { title: "PID", isFigure: true, cell: ({ pid }) => `${pid}` },
      { title: "SOCKET", shortens: "middle", cell: ({ socket }) => socket },
      { title: "DIRECTORY", shortens: "middle", cell: ({ sharedDir }) => sharedDir },
      { title: "CACHE", cell: ({ cache }) => cache },
      { title: "UP", isFigure: true, cell: ({ started }) => ageText(layout.now - started) },
      { title: "STATE", cell: stateOf },
      { title: "QUEUES", isFigure: true, cell: ({ requestQueues }) => `${requestQueues}` },
      { title: "REQUESTS", isFigure: true, cell: ({ requests }) => countText(requests) },
      {
        title: "REQ/S",
        isFigure: true,
        cell: ({ pid, requests }) =>
          rateText(requests, before, () => earlier.get(pid)?.requests ?? requests),
      },
    ],
    view.daemons,
    layout.width,
  );
  return [...lines, ...view.refused, ...rateNote(before)];
}

/** All that is known of one. */
export function summaryText(
  view: DaemonSummary,
  layout: TextLayout,
  before: Before<DaemonSummary> | null,
): string[] {
  const rate = rateText(view.requests, before, ({ requests }) => requests);
  const facts = textFacts([
    ["Process", `${view.pid}${view.running ? "" : " (has ended)"}, version ${view.version}`],
    ["Socket", view.socket],
    ["Directory", `${view.sharedDir}${view.readonly ? " (read-only)" : ""}`],
    ["Tag", view.tag ?? "none"],
    ["Cache", view.cache],
    ["DAX", view.dax],
    ["Started", `${timeText(view.started)}${upText(view, layout.now)}`],
    ["Front end", frontEndOf(view, layout.now)],
    ["Session", view.sessionActive ? `FUSE 7.${view.fuseMinor}` : "none"],
    ["Queues", `${view.requestQueues} for requests, 1 hiprio`],
    [
      "Requests",
      `${countText(view.requests)}, ${countText(view.errors)} answered with an error${
        rate === "" ? "" : `, ${rate} per second`
      }`,
    ],
    [
      "Inodes",
      `${countText(view.inodes)} known, ${countText(view.inodeDescriptors)} held by descriptor`,
    ],
    ["Open handles", countText(view.openHandles)],
    ["Descriptors", `${countText(view.descriptorLimit)} allowed`],
    ["Versions", view.versionTable ?? "not shared"],
  ], layout.width);
  return [...facts, ...rateNote(before)];
}

function stateOf({ running, connected }: DaemonSummary): string {
  if (!running) return "ended";
  return connected ? "connected" : "waiting";
}

function upText({ started, running }: DaemonSummary, now: number): string {
  return running ? `, ${ageText(now - started)} ago` : "";
}

function frontEndOf({ connected, connectedSince, connections }: DaemonSummary, now: number) {
  if (connections === 0) return "waiting for the first one";
  const since = `since ${timeText(connectedSince)} (${ageText(now - connectedSince)})`;
  return connected
    ? `connected ${since}, the ${ordinal(connections)}`
    : `waiting ${since}, after ${countText(connections)}`;
}

function ordinal(count: number): string {
  const tens = count % 100;
  const suffix = tens >= 11 && tens <= 13 ? "th" : ["th", "st", "nd", "rd"][count % 10] ?? "th";
  return `${countText(count)}${suffix}`;
}
