/**
 * A report in the OpenMetrics text format 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/), which Prometheus and all its relatives scrape.
 *
 * Each family is written whole before the next one begins, whatever the number of daemons: the format demands it.
 *
 * @module
 */

import type { OpcodeRow, QueueRow } from "./snapshot.ts";
import type { DaemonReport, Report, TableReport } from "./report.ts";
import { type Family, familyText, type Sample } from "./open_metrics_text.ts";
import { durationHistogram } from "./open_metrics_histogram.ts";

/** What an HTTP answer says of the text. */
export const OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX = "virtiofsd_";

type Labels = Readonly<Record<string, string>>;
type FamilyOf<T> = Omit<Family, "samples"> & { readonly samples: (of: T) => readonly Sample[] };

/** The text, which ends with "# EOF". */
export function openMetrics(report: Report): string {
  const tables = [...new Map(report.versions.map((view) => [view.path, view])).values()];
  return [
    ...DAEMON_FAMILIES.map((family) => familyOf(family, report.daemons)),
    ...agedFamilies(report.taken).map((family) => familyOf(family, report.daemons)),
    ...TABLE_FAMILIES.map((family) => familyOf(family, tables)),
  ].join("") + "# EOF\n";
}

function familyOf<T>(family: FamilyOf<T>, subjects: readonly T[]): string {
  return familyText({
    ...family,
    name: PREFIX + family.name,
    samples: subjects.flatMap((subject) => family.samples(subject)),
  });
}

function labelsOf({ summary }: DaemonReport): Labels {
  return { pid: String(summary.pid), socket: summary.socket };
}

function opLabels(daemon: DaemonReport, row: OpcodeRow): Labels {
  return { ...labelsOf(daemon), queue: String(row.queue), opcode: row.name };
}

function gauge(name: string, help: string, value: (of: DaemonReport) => number, unit?: "bytes") {
  return single("gauge", name, help, value, unit);
}

function counter(name: string, help: string, value: (of: DaemonReport) => number) {
  return single("counter", name, help, value);
}

function single(
  type: "gauge" | "counter",
  name: string,
  help: string,
  value: (of: DaemonReport) => number,
  unit?: "bytes",
): FamilyOf<DaemonReport> {
  const suffix = type === "counter" ? "_total" : "";
  return {
    ...{ name, type, help, ...(unit === undefined ? {} : { unit }) },
    samples: (daemon) => [{ suffix, labels: labelsOf(daemon), value: value(daemon) }],
  };
}

function perQueue(
  type: "gauge" | "counter",
  name: string,
  help: string,
  value: (row: QueueRow) => number,
): FamilyOf<DaemonReport> {
  const suffix = type === "counter" ? "_total" : "";
  return {
    ...{ name, type, help },
    samples: (daemon) =>
      daemon.queues.rows.map((row) => ({
        suffix,
        labels: { ...labelsOf(daemon), queue: String(row.queue) },
        value: value(row),
      })),
  };
}

const DAEMON_FAMILIES: readonly FamilyOf<DaemonReport>[] = [
  {
    ...{ name: "daemon", type: "info", help: "What the daemon was told to do." },
    samples: (daemon) => {
      const { summary } = daemon;
      const labels = {
        version: summary.version,
        shared_dir: summary.sharedDir,
        tag: summary.tag ?? "",
        cache: summary.cache,
        dax: summary.dax,
        readonly: String(summary.readonly),
      };
      return [{ suffix: "_info", labels: { ...labelsOf(daemon), ...labels }, value: 1 }];
    },
  },
  {
    ...{ name: "start_time_seconds", type: "gauge", unit: "seconds" },
    help: "When the daemon started, in seconds since 1970.",
    samples: (daemon) => [
      { suffix: "", labels: labelsOf(daemon), value: daemon.summary.started / 1000 },
    ],
  },
  gauge("running", "Whether the daemon is there.", ({ summary }) => Number(summary.running)),
  gauge("connected", "Whether a front end is connected.", (of) => Number(of.summary.connected)),
  gauge(
    "session_active",
    "Whether a guest has mounted (FUSE INIT).",
    (of) => Number(of.summary.sessionActive),
  ),
  counter("connections", "Front ends that have connected.", (of) => of.summary.connections),
  {
    ...{ name: "requests", type: "counter", help: "Requests answered." },
    samples: (daemon) =>
      daemon.ops.rows.map((row) => ({
        ...{ suffix: "_total", labels: opLabels(daemon, row), value: row.requests },
      })),
  },
  {
    ...{ name: "request_errors", type: "counter", help: "Requests answered with an errno." },
    samples: (daemon) =>
      daemon.ops.rows.flatMap((row) =>
        Object.entries(row.errnos).map(([errno, value]) => ({
          ...{ suffix: "_total", labels: { ...opLabels(daemon, row), errno }, value },
        }))
      ),
  },
  {
    ...{ name: "request_bytes", type: "counter", unit: "bytes" },
    help: "Bytes of requests (in) and of replies (out), headers included.",
    samples: (daemon) =>
      daemon.ops.rows.flatMap((row) =>
        ([["in", row.bytesIn], ["out", row.bytesOut]] as const).map(([direction, value]) => ({
          ...{ suffix: "_total", labels: { ...opLabels(daemon, row), direction }, value },
        }))
      ),
  },
  {
    ...{ name: "request_duration_seconds", type: "histogram", unit: "seconds" },
    help: "Time from taking a request to its answer.",
    samples: (daemon) =>
      daemon.ops.rows.flatMap((row) => durationHistogram(row, opLabels(daemon, row))),
  },
  {
    ...{ name: "request_duration_max_seconds", type: "gauge", unit: "seconds" },
    help: "The longest request so far.",
    samples: (daemon) =>
      daemon.ops.rows.map((row) => ({
        ...{ suffix: "", labels: opLabels(daemon, row), value: row.maxNs / 1e9 },
      })),
  },
  gauge("inodes", "Inodes that the guest knows.", ({ summary }) => summary.inodes),
  gauge("inode_descriptors", "Those held by descriptor.", (of) => of.summary.inodeDescriptors),
  gauge("open_handles", "Open files and directories.", ({ summary }) => summary.openHandles),
  gauge("descriptor_limit", "RLIMIT_NOFILE.", ({ summary }) => summary.descriptorLimit),
  {
    ...{ name: "queue_state", type: "stateset", help: "What each queue is doing." },
    samples: (daemon) =>
      daemon.queues.rows.flatMap((row) =>
        ["stopped", "running", "broken"].map((state) => ({
          suffix: "",
          labels: {
            ...labelsOf(daemon),
            queue: String(row.queue),
            [`${PREFIX}queue_state`]: state,
          },
          value: Number(state === row.state),
        }))
      ),
  },
  perQueue("gauge", "queue_size", "Entries of the ring.", ({ size }) => size),
  perQueue(
    "gauge",
    "queue_outstanding",
    "Requests that are served or wait.",
    ({ outstanding }) => outstanding.length,
  ),
  perQueue("counter", "queue_kicks", "Wake-ups by the driver.", ({ kicks }) => kicks),
  perQueue("counter", "queue_notifications", "Notifications sent.", (row) => row.notifications),
  perQueue(
    "counter",
    "queue_notifications_suppressed",
    "Notifications that the driver did not want.",
    ({ suppressed }) => suppressed,
  ),
  perQueue(
    "counter",
    "queue_batches",
    "Turns in which something was served.",
    ({ batches }) => batches,
  ),
  perQueue("gauge", "queue_batch_max", "Most requests in a turn.", ({ batchMax }) => batchMax),
  gauge("window_bytes", "Size of the DAX window.", ({ window }) => window.size, "bytes"),
  gauge("window_ranges_used", "Its ranges in use.", ({ window }) => window.rangesUsed),
  gauge("window_ranges_free", "Its free ranges.", ({ window }) => window.rangesFree),
  gauge("window_mappings", "Mappings in it.", ({ window }) => window.mappings.length),
  counter("window_maps", "Mappings made.", ({ window }) => window.maps),
  counter("window_unmaps", "Mappings taken away.", ({ window }) => window.unmaps),
  counter("window_remaps", "Of the mappings made, those made again.", (of) => of.window.remaps),
  counter("window_refusals", "Mappings refused.", ({ window }) => window.refusals),
  counter(
    "window_demotions",
    "Files better read than mapped.",
    ({ window }) => window.demotions,
  ),
];

function agedFamilies(now: number): FamilyOf<DaemonReport>[] {
  return [{
    ...{ name: "queue_oldest_request_age_seconds", type: "gauge", unit: "seconds" },
    help: "Age of the oldest request that is served or waits; 0 = there is none.",
    samples: (daemon) =>
      daemon.queues.rows.map((row) => ({
        suffix: "",
        labels: { ...labelsOf(daemon), queue: String(row.queue) },
        value: row.outstanding.reduce((most, { since }) => Math.max(most, now - since), 0) / 1000,
      })),
  }];
}

/** Tables are shared: their samples name no daemon. */
const TABLE_FAMILIES: readonly FamilyOf<TableReport>[] = [
  tableFamily("gauge", "version_table_slots", "Slots.", ({ slotCount }) => slotCount),
  tableFamily("gauge", "version_table_slots_used", "Slots in use.", ({ used }) => used),
  tableFamily(
    "counter",
    "version_table_refusals",
    "Inodes that got no slot.",
    ({ refusals }) => refusals,
  ),
  tableFamily(
    "counter",
    "version_table_sweeps",
    "Dead daemons swept up after.",
    ({ sweeps }) => sweeps,
  ),
  {
    ...{ name: "version_table_owners", type: "gauge", help: "Daemons, by whether they live." },
    samples: ({ path, owners }) =>
      [true, false].map((alive) => ({
        suffix: "",
        labels: { table: path, alive: String(alive) },
        value: owners.filter((owner) => owner.alive === alive).length,
      })),
  },
];

function tableFamily(
  type: "gauge" | "counter",
  name: string,
  help: string,
  value: (view: TableReport) => number | null,
): FamilyOf<TableReport> {
  const suffix = type === "counter" ? "_total" : "";
  return {
    ...{ name, type, help },
    samples: (view) => {
      const figure = value(view);
      return figure === null ? [] : [{ suffix, labels: { table: view.path }, value: figure }];
    },
  };
}
