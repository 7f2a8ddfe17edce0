/**
 * `inspect window` for the terminal: totals, the picture, the mappings.
 *
 * @module
 */

import type { MappingRow, WindowView } from "./snapshot.ts";
import { type Before, rateNote, rateText, type TextLayout } from "./text_layout.ts";
import { textTable } from "./text_table.ts";
import { ageText, bytesText, countText } from "./units.ts";
import { picture } from "./window_picture.ts";

/** Where there is no terminal. */
const PICTURE_WIDTH = 80;

/** The window. */
export function windowText(
  view: WindowView,
  layout: TextLayout,
  before: Before<WindowView> | null,
): string[] {
  const width = layout.width ?? PICTURE_WIDTH;
  const drawn = picture(view, { width, colour: layout.colour, by: layout.by, now: layout.now });
  if (view.size === 0) return drawn;
  const rate = (count: (view: WindowView) => number) => {
    const text = rateText(count(view), before, count);
    return text === "" ? countText(count(view)) : `${countText(count(view))} (${text}/s)`;
  };
  return [
    `${bytesText(view.size)} in ranges of ${bytesText(view.rangeSize)}: ${
      countText(view.rangesUsed)
    } used, ${countText(view.rangesFree)} free; ${countText(view.mappings.length)} mappings`,
    `${rate(({ maps }) => maps)} maps, ${rate(({ unmaps }) => unmaps)} unmaps, ${
      rate(({ remaps }) => remaps)
    } remaps, ${countText(view.refusals)} refused, ${countText(view.demotions)} files demoted`,
    "",
    ...drawn,
    "",
    ...mappingsText(view.mappings, layout),
    ...rateNote(before),
  ];
}

function mappingsText(mappings: readonly MappingRow[], layout: TextLayout): string[] {
  const shown = layout.limit === null ? mappings : mappings.slice(0, layout.limit);
  const lines = textTable<MappingRow>(
    [
      { title: "WINDOW", isFigure: true, cell: ({ start }) => bytesText(start) },
      { title: "LENGTH", isFigure: true, cell: ({ start, end }) => bytesText(end - start) },
      { title: "FILE", shortens: "middle", cell: ({ path, nodeid }) => path ?? `node ${nodeid}` },
      { title: "OFFSET", isFigure: true, cell: ({ fileOffset }) => bytesText(fileOffset) },
      { title: "ACCESS", cell: ({ writable }) => writable ? "rw" : "r" },
      { title: "STATE", cell: ({ state }) => state },
      { title: "AGE", isFigure: true, cell: ({ since }) => ageText(layout.now - since) },
    ],
    shown,
    layout.width,
  );
  const more = mappings.length - shown.length;
  return more > 0 ? [...lines, `… and ${countText(more)} more (--limit 0 for all)`] : lines;
}
