/**
 * Runs a program where it can write to nothing but a directory of its own. A fuzzer of a broken file system, run by root, has the whole machine
 * before it otherwise: names such as ".." do lead out then, and each directory that is listed is offered to it.
 *
 * @module
 */

/** Set in the program that is started again. */
const MARK = "VIRTIOFSD_TS_FUZZ_GROUND";

/** Makes all mounts read-only but the ground's, and looks whether they are. */
const SCRIPT = `set -e
mount -t tmpfs -o size=64m,nr_inodes=20000,strictatime fuzz "$GROUND"
cut -d' ' -f2 /proc/self/mounts | while read -r place; do
  [ "$place" = "$GROUND" ] || mount -o remount,bind,ro "$place" 2>/dev/null ||
    umount -l "$place" 2>/dev/null || true
done
# access(2) says EROFS, also to root; nothing is tried out.
cut -d' ' -f2 /proc/self/mounts | sort -u | while read -r place; do
  if [ "$place" != "$GROUND" ] && [ -w "$place" ]; then
    echo "The fuzzer could write to $place: it is not run" >&2
    exit 3
  fi
done
exec "$@"`;

/** The directory to work in, if this program may go on; else null, and `exitCode` is that of the one that was started in its place. */
export function contain(): { readonly ground: string } | { readonly exitCode: number } {
  const ground = Deno.env.get(MARK);
  if (ground !== undefined) return { ground };
  const made = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-fuzz-" });
  Deno.chmodSync(made, 0o755);
  try {
    // An ordinary user can spoil no more than what is his, and cannot mount.
    if (Deno.uid() !== 0) return { ground: made };
    const args = ["run", "-A", "--no-lock", Deno.mainModule, ...Deno.args];
    const { code } = new Deno.Command("unshare", {
      args: ["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", Deno.execPath()]
        .concat(args),
      env: { [MARK]: made, GROUND: made },
      stdout: "inherit",
      stderr: "inherit",
    }).outputSync();
    return { exitCode: code };
  } finally {
    if (Deno.uid() === 0) Deno.removeSync(made, { recursive: true });
  }
}
