/**
 * The look of the page: the reader's own light or dark, no fonts or pictures from elsewhere.
 *
 * @module
 */

/** A style sheet. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ground: #fff; --text: #1c2128; --faint: #66707c;
  --line: #d9dee4; --panel: #f5f7f9; --bar: #2b6cb0; --mark: #c05621; --free: #e4e8ec; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14181d; --text: #dde3ea; --faint: #8b96a3; --line: #323a44;
    --panel: #1c2229; --bar: #63a5e8; --mark: #f0965a; --free: #2a313a; }
}
body { margin: 0 auto; max-width: 76rem; padding: 1rem 1.5rem 3rem; background: var(--ground);
  color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
.none, .note, figcaption { color: var(--faint); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .6rem 1.2rem;
  margin: .6rem 0; }
dt { color: var(--faint); font-size: .85em; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: middle; white-space: nowrap; }
th { color: var(--faint); font-weight: 500; }
.figure { text-align: right; }
.path { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
figure { margin: .5rem 0; background: var(--panel); padding: .8rem; border-radius: 6px; }
figure svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--faint); font: 10px system-ui, sans-serif; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .5em; }
.bar { fill: var(--bar); } .mark { stroke: var(--mark); stroke-width: 1; } .free { fill: var(--free); }
.axis { stroke: var(--line); }
`;
