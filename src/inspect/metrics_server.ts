/**
 * `serve --metrics-socket`: the daemon's own metrics over HTTP on a UNIX socket, for a scraper.
 *
 * The main thread serves them; requests of the guest are served by others, so that no client of this socket can hold one up.
 *
 * @module
 */

import { collectReport } from "./collect.ts";
import type { DaemonState } from "./daemon_state.ts";
import { OPEN_METRICS_TYPE, openMetrics } from "./open_metrics.ts";

/** A text is kept that long: however fast a client asks, the main thread has time for the front end. */
const FRESH_MS = 250;

/** A running server. */
export interface MetricsServer {
  /** Takes no more requests, and removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves `GET /metrics` on a new socket, which only this user can open. The daemon is opened when somebody asks, since it may not have
 * written anything yet. Rejects with an Error that says why not.
 */
export async function openMetricsServer(
  path: string,
  open: () => DaemonState,
): Promise<MetricsServer> {
  await removeStaleSocket(path);
  // The socket comes to its name with the right mode: between bind(2) and chmod(2) others could have connected.
  const folder = Deno.makeTempDirSync({ dir: folderOf(path), prefix: ".metrics-" });
  const bound = `${folder}/s`;
  let daemon: DaemonState | null = null;
  const answer = answerer(() => daemon ??= open());
  let server: Deno.HttpServer;
  let ino: number | null;
  try {
    server = Deno.serve({ path: bound, onListen() {}, onError: failed }, answer);
    Deno.chmodSync(bound, 0o600);
    ino = Deno.lstatSync(bound).ino;
    Deno.renameSync(bound, path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  return {
    async close() {
      removeOwn(path, ino);
      // A client that does not read its answer must not keep the daemon from ending.
      const late = new Promise<void>((resolve) => Deno.unrefTimer(setTimeout(resolve, 500)));
      await Promise.race([server.shutdown(), late]);
      daemon?.[Symbol.dispose]();
    },
  };
}

function answerer(daemon: () => DaemonState): (request: Request) => Response {
  let text = "";
  let taken = -Infinity;
  return (request) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname !== "/metrics") return new Response("The path is /metrics\n", { status: 404 });
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
    }
    const now = performance.now();
    if (now - taken > FRESH_MS) {
      const report = collectReport([daemon()], { rows: null, isQuick: true });
      if (report.daemons.length === 0) return failed(report.refused.join("\n"));
      text = openMetrics(report);
      taken = now;
    }
    return new Response(text, { headers: { "content-type": OPEN_METRICS_TYPE } });
  };
}

function failed(error: unknown): Response {
  return new Response(`${error instanceof Error ? error.message : error}\n`, { status: 503 });
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash + 1);
}

/** What a daemon left that was killed; nothing else is taken away. */
async function removeStaleSocket(path: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (info.isSocket !== true) throw new Error("something else is there");
  if (await isListening(path)) throw new Error("another daemon uses it");
  Deno.removeSync(path);
}

/** Whether somebody answers there. Not asked of /proc/net/unix, which has the name that the socket was made under. */
async function isListening(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}

function removeOwn(path: string, ino: number | null): void {
  try {
    if (Deno.lstatSync(path).ino === ino) Deno.removeSync(path);
  } catch {
    // Somebody has tidied up.
  }
}
