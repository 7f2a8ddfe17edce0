import { equal, match, rejects } from "node:assert/strict";
import { RunningProgram, Workplace } from "../cli/program.ts";
import { servingPid } from "../support/serving_process.ts";
import { parseOpenMetrics } from "./open_metrics_parser.ts";

/** Sends bytes and reads until the server closes. */
async function talk(path: string, request: string): Promise<string> {
  using connection = await Deno.connect({ transport: "unix", path });
  await connection.write(new TextEncoder().encode(request));
  let text = "";
  for await (const chunk of connection.readable.pipeThrough(new TextDecoderStream())) text += chunk;
  return text;
}

function get(path: string, target: string, method = "GET"): Promise<string> {
  return talk(path, `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
}

async function withDaemon(
  test: (metrics: string, place: Workplace, daemon: RunningProgram) => Promise<void>,
): Promise<void> {
  using place = new Workplace();
  const metrics = `${place.directory}/metrics`;
  const daemon = new RunningProgram([
    ...["serve", "--shared-dir", place.share, "--socket-path", place.socket],
    ...["--metrics-socket", metrics, "--keep-listening", "--cache", "shared"],
    ...["--version-table", `${place.directory}/versions`, "--version-slots", "64"],
  ]);
  try {
    await daemon.stderrHolds("Waiting for vhost-user socket connection");
    await test(metrics, place, daemon);
  } finally {
    daemon.kill("SIGTERM");
    equal((await daemon.outcome()).code, 0);
  }
}

Deno.test("serve --metrics-socket answers a scraper, and nobody else", async () => {
  let path = "";
  await withDaemon(async (metrics, place, daemon) => {
    path = metrics;
    const answer = await get(metrics, "/metrics");
    match(answer, /^HTTP\/1\.1 200 /);
    match(answer, /content-type: application\/openmetrics-text; version=1\.0\.0; charset=utf-8/i);
    const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
    const families = parseOpenMetrics(body.slice(body.indexOf("#")));
    const [info] = families.get("virtiofsd_daemon")!.samples;
    equal(info!.labels.get("pid"), String(servingPid(daemon.pid)));
    equal(info!.labels.get("socket"), place.socket);
    equal(families.get("virtiofsd_version_table_slots")!.samples.length, 1);
    equal(Deno.lstatSync(metrics).mode! & 0o777, 0o600);
    match(await get(metrics, "/"), /^HTTP\/1\.1 404 /);
    match(await get(metrics, "/metrics", "POST"), /^HTTP\/1\.1 405 /);
    // Nothing is left of how the socket was made.
    equal([...Deno.readDirSync(place.directory)].some(({ name }) => name.startsWith(".")), false);
  });
  await rejects(Deno.lstat(path), Deno.errors.NotFound);
});

Deno.test("serve --metrics-socket bears clients that misbehave", async () => {
  let stillConnected: Deno.Conn[] = [];
  await withDaemon(async (metrics) => {
    const connect = () => Deno.connect({ transport: "unix", path: metrics });
    const silent = await Promise.all(Array.from({ length: 50 }, connect));
    await silent[0]!.write(new TextEncoder().encode("GET /met"));
    silent[1]!.close();
    const noise = crypto.getRandomValues(new Uint8Array(60_000));
    await silent[2]!.write(noise).catch(() => {});
    await talk(metrics, "\0\0\0\r\n\r\n").catch(() => {});
    await talk(metrics, `GET /metrics HTTP/1.1\r\n${"x: y\r\n".repeat(5000)}\r\n`).catch(() => {});
    match(await get(metrics, "/metrics"), /# EOF\r?\n/);
    // And some are still connected when the daemon is to end.
    stillConnected = silent.filter((_, i) => i !== 1);
  });
  for (const connection of stillConnected) connection.close();
});

Deno.test("serve --metrics-socket replaces a socket that a killed daemon left, and nothing else", async () => {
  using place = new Workplace();
  const metrics = `${place.directory}/metrics`;
  const args = [
    ...["serve", "--shared-dir", place.share, "--socket-path", place.socket],
    ...["--metrics-socket", metrics],
  ];
  const first = new RunningProgram(args);
  await first.stderrHolds("Waiting for vhost-user socket connection");
  const second = new RunningProgram(args.map((word) => word === place.socket ? `${word}2` : word));
  match((await second.outcome()).stderr, /metrics on .*: another daemon uses it/);
  first.kill("SIGKILL");
  await first.outcome();
  equal(Deno.lstatSync(metrics).isSocket, true);
  const third = new RunningProgram(args);
  await third.stderrHolds("Waiting for vhost-user socket connection");
  match(await get(metrics, "/metrics"), /# EOF/);
  third.kill("SIGTERM");
  equal((await third.outcome()).code, 0);
  Deno.writeTextFileSync(metrics, "mine");
  const fourth = await new RunningProgram(args).outcome();
  equal(fourth.code, 1);
  match(fourth.stderr, /Cannot serve metrics on .*: something else is there/);
  equal(Deno.readTextFileSync(metrics), "mine");
});
