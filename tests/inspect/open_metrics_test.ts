import { deepEqual, equal, throws } from "node:assert/strict";
import { openMetrics } from "../../src/inspect/open_metrics.ts";
import { parseOpenMetrics } from "./open_metrics_parser.ts";
import { daemonReport, NOW, report } from "./reports.ts";

const families = parseOpenMetrics(openMetrics(report()));

/** The value of the only sample that has these labels. */
function value(family: string, sample: string, labels: Record<string, string>): number {
  const found = families.get(family)!.samples.filter((candidate) =>
    candidate.name === sample &&
    Object.entries(labels).every(([name, text]) => candidate.labels.get(name) === text)
  );
  equal(found.length, 1, `${sample} ${JSON.stringify(labels)}`);
  return found[0]!.value;
}

Deno.test("openMetrics() is OpenMetrics, and names say their units", () => {
  for (const { name, type } of families.values()) {
    equal(name.startsWith("virtiofsd_"), true, name);
    equal(name.endsWith("_total"), false, `${type} ${name}`);
  }
});

Deno.test("openMetrics() has the figures of each daemon", () => {
  const lookup = { pid: "4712", queue: "1", opcode: "LOOKUP" };
  equal(value("virtiofsd_requests", "virtiofsd_requests_total", lookup), 6);
  const errors = ["virtiofsd_request_errors", "virtiofsd_request_errors_total"] as const;
  equal(value(...errors, { ...lookup, errno: "ENOENT" }), 2);
  const bytes = ["virtiofsd_request_bytes", "virtiofsd_request_bytes_total"] as const;
  equal(value(...bytes, { pid: "4711", opcode: "READ", direction: "out" }), 2 ** 40);
  const started = "virtiofsd_start_time_seconds";
  equal(value(started, started, { pid: "4711" }), (NOW - 90_000) / 1000);
  const age = "virtiofsd_queue_oldest_request_age_seconds";
  equal(value(age, age, { pid: "4711", queue: "1" }), 2.5);
  const state = "virtiofsd_queue_state";
  equal(value(state, state, { pid: "4711", [state]: "running" }), 1);
});

Deno.test("openMetrics() has cumulative buckets in seconds", () => {
  const name = "virtiofsd_request_duration_seconds";
  const labels = { pid: "4711", opcode: "READ" };
  equal(value(name, `${name}_bucket`, { ...labels, le: "1.024e-06" }), 1);
  equal(value(name, `${name}_bucket`, { ...labels, le: "4.096e-06" }), 3);
  equal(value(name, `${name}_bucket`, { ...labels, le: "+Inf" }), 6);
  equal(value(name, `${name}_sum`, labels), 30e-6);
});

Deno.test("openMetrics() names a shared table once, and escapes labels", () => {
  const table = "virtiofsd_version_table_owners";
  equal(value(table, table, { table: "/dev/shm/versions", alive: "false" }), 1);
  const { summary } = daemonReport();
  equal(families.get("virtiofsd_inodes")!.samples[0]!.labels.get("socket"), summary.socket);
});

Deno.test("openMetrics() of no daemon is empty and valid", () => {
  deepEqual(openMetrics({ taken: NOW, daemons: [], versions: [], refused: [] }), "# EOF\n");
});

Deno.test("the parser refuses what is not OpenMetrics", () => {
  const bad = [
    "# TYPE a counter\na_total 1\n",
    "# TYPE a counter\na 1\n# EOF\n",
    "# TYPE a gauge\na 1\na 2\n# EOF\n",
    '# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na{x="1"} 2\n# EOF\n',
    '# TYPE a gauge\na{x="\\q"} 1\n# EOF\n',
    "# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
    '# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_count 1\n# EOF\n',
    "# TYPE a gauge\na 1e-6\n# EOF\n",
  ];
  for (const text of bad) throws(() => parseOpenMetrics(text), text);
});

Deno.test("docs/metrics.md names all metrics, and no others", () => {
  const text = Deno.readTextFileSync(new URL("../../docs/metrics.md", import.meta.url));
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  const named = rows.flatMap((row) =>
    [...row.split("|")[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => `virtiofsd_${name}`)
  );
  const suffix: Record<string, string> = { counter: "_total", info: "_info" };
  const known = [...families.values()].map(({ name, type }) => name + (suffix[type] ?? ""));
  deepEqual(named.toSorted(), known.toSorted());
});
