/**
 * A report as one HTML page that needs nothing else: no scripts, no fonts, no pictures from anywhere, so that it can be kept, sent and
 * opened years later.
 *
 * @module
 */

import { escaped, facts } from "./html.ts";
import { opsTable } from "./page_ops.ts";
import { PAGE_STYLE } from "./page_style.ts";
import { inodesSection, queuesSection, versionsSection } from "./page_tables.ts";
import { windowPictures } from "./page_window.ts";
import type { DaemonReport, Report } from "./report.ts";
import { ageText, bytesText, countText, timeText } from "./units.ts";

/** Names of files come from guests: should one ever get through as HTML, the browser still runs and loads nothing. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'";

/** The page. */
export function page(report: Report): string {
  const sections = [
    ...report.daemons.map((daemon) => daemonSection(daemon, report.taken)),
    ...report.versions.map(versionsSection),
  ];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width">
<title>virtiofsd-ts inspect</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<h1>virtiofsd-ts inspect</h1>
<p class="note">${timeText(report.taken)}, ${report.daemons.length} daemon${
    report.daemons.length === 1 ? "" : "s"
  }</p>
${report.refused.map((line) => `<p class="note">${escaped(line)}</p>`).join("\n")}
${sections.join("\n")}
</body>
</html>
`;
}

function daemonSection(daemon: DaemonReport, now: number): string {
  const { summary, ops, queues, window, inodes } = daemon;
  return `<h2>Daemon ${summary.pid}: ${escaped(summary.sharedDir)}</h2>
${summaryFacts(daemon, now)}
${section("requests", "Requests", opsTable(ops))}
${section("window", "DAX window", windowFacts(daemon) + windowPictures(window, now))}
${section("queues", "Queues", queuesSection(queues, now))}
${inodes === null ? "" : section("inodes", "Inodes", inodesSection(inodes))}`;
}

function section(name: string, title: string, content: string): string {
  return `<section class="${name}">\n<h3>${title}</h3>\n${content}\n</section>`;
}

function summaryFacts({ summary }: DaemonReport, now: number): string {
  const connection = !summary.running
    ? "the daemon has gone"
    : summary.connected
    ? `connected for ${ageText(now - summary.connectedSince)}`
    : "waiting";
  return facts([
    ["Socket", summary.socket],
    ["Tag", summary.tag ?? "none"],
    ["Version", summary.version],
    ["Started", `${timeText(summary.started)}, ${ageText(now - summary.started)} ago`],
    ["Front end", `${connection}; ${countText(summary.connections)} so far`],
    ["Guest", summary.sessionActive ? `mounted, FUSE 7.${summary.fuseMinor}` : "not mounted"],
    ["Cache, DAX", `${summary.cache}, ${summary.dax}${summary.readonly ? ", read-only" : ""}`],
    ["Request queues", String(summary.requestQueues)],
    ["Requests", `${countText(summary.requests)}, ${countText(summary.errors)} errors`],
    ["Inodes", countText(summary.inodes)],
    ["Open handles", countText(summary.openHandles)],
    [
      "Inode descriptors",
      `${countText(summary.inodeDescriptors)} of ${countText(summary.descriptorLimit)}`,
    ],
    ...(summary.versionTable === null ? [] : [["Version table", summary.versionTable] as const]),
  ]);
}

function windowFacts({ window }: DaemonReport): string {
  if (window.size === 0) return "";
  return facts([
    ["Size", bytesText(window.size)],
    ["Ranges", `${countText(window.rangesUsed)} used, ${countText(window.rangesFree)} free`],
    ["Maps, unmaps", `${countText(window.maps)}, ${countText(window.unmaps)}`],
    ["Maps made again", countText(window.remaps)],
    ["Refused", countText(window.refusals)],
    ["Demoted files", countText(window.demotions)],
  ]);
}
