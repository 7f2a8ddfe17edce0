import { deepEqual } from "node:assert/strict";
import { mountsBelow } from "../../src/coherence/host_watch/mounts.ts";

const MOUNTINFO = `\
26 1 254:0 / / rw,relatime - ext4 /dev/vda rw
21 26 0:20 / /srv/share/proc rw,relatime - proc proc rw
22 26 0:21 / /srv/share rw,relatime - tmpfs tmpfs rw
23 22 0:22 / /srv/share/a\\040b rw,relatime shared:5 master:1 - tmpfs tmpfs rw
24 22 0:23 / /srv/share/back\\134slash rw,relatime - xfs /dev/vdb rw
25 22 0:24 / /srv/shared/other rw,relatime - tmpfs tmpfs rw
27 22 0:25 / /srv/share/ä rw - tmpfs tmpfs rw
`;

Deno.test("mounts below a directory, but not itself, what merely begins like it, or what the kernel makes up", () => {
  deepEqual(mountsBelow("/srv/share", MOUNTINFO), [
    { id: 23, path: "/srv/share/a b" },
    { id: 24, path: "/srv/share/back\\slash" },
    { id: 27, path: "/srv/share/ä" },
  ]);
});

Deno.test("mounts below the root directory", () => {
  deepEqual(mountsBelow("/", MOUNTINFO).map(({ id }) => id), [22, 23, 24, 25, 27]);
});
