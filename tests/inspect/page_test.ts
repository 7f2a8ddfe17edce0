import { deepEqual, equal, match } from "node:assert/strict";
import { page } from "../../src/inspect/page.ts";
import { CHROMIUM, view } from "./chromium.ts";
import { mapping, NOW, report, windowView } from "./reports.ts";

Deno.test("page() names nothing outside itself and has no scripts", () => {
  const html = page(report());
  equal(/<script|<link|<img|<iframe|@import|url\(|https?:/.test(html), false);
  equal(html.includes("default-src 'none'"), true);
});

Deno.test("page() shows names as text, whatever is in them", () => {
  const html = page(report());
  equal(html.includes("/&lt;script&gt;alert(1)&lt;/script&gt;"), true);
  equal(html.includes("/srv/&lt;share&gt; &amp; more"), true);
  // deno-lint-ignore no-control-regex
  equal(/[\x00-\x09\x0b-\x1f]/.test(html), false);
});

Deno.test("page() of the largest window stays small", () => {
  const [daemon] = report().daemons;
  const window = windowView(
    65536,
    Array.from({ length: 65536 }, (_, i) => mapping(i, 1, { nodeid: i % 500 })),
  );
  const html = page({ taken: NOW, daemons: [{ ...daemon!, window }], versions: [], refused: [] });
  equal(html.length < 4_000_000, true, String(html.length));
});

Deno.test("page() of no daemon is a page", () => {
  match(page({ taken: NOW, daemons: [], versions: [], refused: [] }), /0 daemons/);
});

Deno.test({
  name: "page() opens in Chromium: all is there, nothing is complained about",
  ignore: CHROMIUM === null,
  fn: async () => {
    const directory = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-page-" });
    try {
      const path = `${directory}/page.html`;
      Deno.writeTextFileSync(path, page(report()));
      const { dom, console, screenshot } = await view(path, directory);
      deepEqual(console, []);
      const text = dom.replace(/<style>[^]*?<\/style>/, "").replace(/<[^>]+>/g, " ");
      for (
        const wanted of [
          ...["Daemon 4711", "/srv/&lt;share&gt; &amp; more", "LOOKUP", "2 ENOENT, 1 EACCES"],
          ...["SETLKW", "waiting", "VIRTIO_F_VERSION_1", "512 MiB", "3 used, 253 free"],
          ...["Version table /dev/shm/versions", "4711, 4712", "1 and 1 dead", "1 TiB"],
        ]
      ) equal(text.includes(wanted), true, wanted);
      equal(dom.match(/<rect class="free"/g)!.length, 2 * 2 * 253);
      equal(new TextDecoder().decode(screenshot.subarray(1, 4)), "PNG");
      // An empty page is 10 kB.
      equal(screenshot.length > 50_000, true, String(screenshot.length));
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
});
