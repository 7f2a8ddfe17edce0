/**
 * Patterns of paths, as shells have them.
 *
 * @module
 */

/** Whether all of `path` matches: `*` any characters but "/", `**` those too, `?` one character. A pattern without "/" is one of names. */
export function globMatcher(pattern: string): (path: string) => boolean {
  const isOfNames = !pattern.includes("/");
  const expression = pattern.replace(/\*\*|[*?]|[\\^$.|+()[\]{}]/g, (found) => {
    if (found === "**") return ".*";
    if (found === "*") return "[^/]*";
    return found === "?" ? "[^/]" : `\\${found}`;
  });
  const regex = new RegExp(`^${expression}$`, "s");
  return (path) => regex.test(isOfNames ? path.slice(path.lastIndexOf("/") + 1) : path);
}
