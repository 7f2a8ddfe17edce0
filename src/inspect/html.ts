/**
 * Pieces of HTML. Whatever comes from outside, names of files above all, goes through {@linkcode escaped}.
 *
 * @module
 */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as HTML, in content and in quoted attributes. Control characters become visible ones. */
export function escaped(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, "�").replace(/[&<>"']/g, (c) => ENTITIES[c]!);
}

/** One column of a table. */
export interface Column<T> {
  readonly title: string;
  /** Plain text, or HTML where `html` is set. */
  readonly cell: (row: T) => string;
  readonly html?: boolean;
  /** Figures stand right, paths may be broken anywhere. */
  readonly kind?: "figure" | "path";
}

/** A table of at most `most` rows, and a line about those that are left out. */
export function table<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  most = 1000,
): string {
  if (rows.length === 0) return `<p class="none">None.</p>`;
  const head = columns.map(({ title, kind }) => `<th${classOf(kind)}>${escaped(title)}</th>`);
  const body = rows.slice(0, most).map((row) =>
    `<tr>${
      columns.map(({ cell, html, kind }) => {
        const content = cell(row);
        return `<td${classOf(kind)}>${html === true ? content : escaped(content)}</td>`;
      }).join("")
    }</tr>`
  );
  const rest = rows.length > most
    ? `<p class="none">… and ${rows.length - most} more rows.</p>`
    : "";
  return `<div class="wide"><table><thead><tr>${head.join("")}</tr></thead>
<tbody>
${body.join("\n")}
</tbody></table></div>${rest}`;
}

/** Names and values. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const items = pairs.map(([name, value]) =>
    `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`
  );
  return `<dl>${items.join("")}</dl>`;
}

function classOf(kind: string | undefined): string {
  return kind === undefined ? "" : ` class="${kind}"`;
}
