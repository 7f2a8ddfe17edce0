/**
 * A strict reader of the OpenMetrics text format 1.0, written from the specification and not from the writer.
 *
 * @module
 */

/** One line of figures. */
export interface ParsedSample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/** One family. */
export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly samples: ParsedSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  gauge: [""],
  histogram: ["_bucket", "_count", "_sum", "_created"],
  info: ["_info"],
  stateset: [""],
};

/** The families by name, or an error for anything that the format does not allow. */
export function parseOpenMetrics(text: string): Map<string, ParsedFamily> {
  if (!text.endsWith("\n# EOF\n") && text !== "# EOF\n") throw new Error("no # EOF at the end");
  const families = new Map<string, ParsedFamily>();
  let current: ParsedFamily | null = null;
  const seen = new Set<string>();
  for (const line of text.slice(0, -"# EOF\n".length).split("\n").slice(0, -1)) {
    const meta = /^# (TYPE|UNIT|HELP) (\S+) (.*)$/.exec(line);
    if (meta !== null) {
      const [, kind, name, rest] = meta as unknown as [string, string, string, string];
      if (kind === "TYPE") {
        if (!NAME.test(name) || families.has(name)) {
          throw new Error(`bad or second family: ${line}`);
        }
        if (!(rest in SUFFIXES)) throw new Error(`unknown type: ${line}`);
        current = { name, type: rest, samples: [] };
        families.set(name, current);
      } else if (current?.name !== name || current.samples.length > 0) {
        throw new Error(`out of place: ${line}`);
      } else if (kind === "UNIT" && !name.endsWith(`_${rest}`)) {
        throw new Error(`the name has not its unit: ${line}`);
      } else if (kind === "HELP") {
        unescaped(rest);
      }
      continue;
    }
    if (current === null) throw new Error(`a sample without a family: ${line}`);
    const sample = sampleOf(line);
    const suffix = sample.name.slice(current.name.length);
    if (!sample.name.startsWith(current.name) || !SUFFIXES[current.type]!.includes(suffix)) {
      throw new Error(`not of ${current.type} ${current.name}: ${line}`);
    }
    const identity = sample.name + JSON.stringify([...sample.labels].sort());
    if (seen.has(identity)) throw new Error(`twice: ${line}`);
    seen.add(identity);
    if (current.type !== "gauge" && !(sample.value >= 0)) throw new Error(`negative: ${line}`);
    if (current.type === "info" && sample.value !== 1) throw new Error(`info is 1: ${line}`);
    if (current.type === "stateset") {
      if (!sample.labels.has(current.name)) throw new Error(`a state without its name: ${line}`);
      if (sample.value !== 0 && sample.value !== 1) throw new Error(`a state is 0 or 1: ${line}`);
    }
    current.samples.push(sample);
  }
  for (const family of families.values()) {
    if (family.samples.length === 0) throw new Error(`${family.name} is empty`);
    if (family.type === "histogram") checkHistogram(family);
  }
  return families;
}

function sampleOf(line: string): ParsedSample {
  const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0];
  if (name === undefined) throw new Error(`no name: ${line}`);
  let at = name.length;
  const labels = new Map<string, string>();
  if (line[at] === "{") {
    at++;
    while (line[at] !== "}") {
      const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[n"\\])*)"(,(?!\})|(?=\}))/
        .exec(line.slice(at));
      if (pair === null) throw new Error(`bad label: ${line}`);
      if (labels.has(pair[1]!)) throw new Error(`label twice: ${line}`);
      labels.set(pair[1]!, unescaped(pair[2]!));
      at += pair[0].length;
    }
    at++;
  }
  const value = /^ ([+-]?(?:\d+(?:\.\d+)?(?:e[+-]\d{2,})?|Inf)|NaN)$/.exec(line.slice(at))?.[1];
  if (value === undefined) throw new Error(`bad value: ${line}`);
  return { name, labels, value: Number(value.replace("Inf", "Infinity")) };
}

function unescaped(text: string): string {
  if (/(^|[^\\])(\\\\)*\\([^n"\\]|$)/.test(text)) throw new Error(`bad escape: ${text}`);
  return text.replace(/\\(.)/g, (_, character) => character === "n" ? "\n" : character);
}

/** Buckets of one label set follow each other, limits and counts rise, +Inf is last and is the count. */
function checkHistogram({ name, samples }: ParsedFamily): void {
  let limit = -Infinity;
  let count = 0;
  let key: string | null = null;
  const done = new Set<string>();
  for (const sample of samples) {
    const rest = JSON.stringify([...sample.labels].filter(([label]) => label !== "le"));
    if (rest !== key) {
      if (done.has(rest)) throw new Error(`${name}: ${rest} is in pieces`);
      done.add(rest);
      [key, limit, count] = [rest, -Infinity, 0];
    }
    if (sample.name === `${name}_bucket`) {
      const le = Number(sample.labels.get("le")!.replace("Inf", "Infinity"));
      if (!(le > limit) || sample.value < count) throw new Error(`${name}: ${rest} does not rise`);
      [limit, count] = [le, sample.value];
    } else if (limit !== Infinity) {
      throw new Error(`${name}: ${rest} has no +Inf`);
    } else if (sample.name === `${name}_count` && sample.value !== count) {
      throw new Error(`${name}: ${rest} counts differently`);
    }
  }
}
