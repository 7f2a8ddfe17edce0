/**
 * How one family of metrics is written: the grammar of the OpenMetrics text format and nothing of what is measured.
 *
 * @module
 */

/** One line of figures. */
export interface Sample {
  /** After the family's name: "_total", "_bucket", … */
  readonly suffix: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A family: samples that mean the same thing of different subjects. */
export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram" | "info" | "stateset";
  /** The name's last word, where there is one. */
  readonly unit?: "seconds" | "bytes";
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** The family's lines; none without samples. */
export function familyText({ name, type, unit, help, samples }: Family): string {
  if (samples.length === 0) return "";
  const lines = [
    `# TYPE ${name} ${type}`,
    ...(unit === undefined ? [] : [`# UNIT ${name} ${unit}`]),
    `# HELP ${name} ${escaped(help)}`,
    ...samples.map((sample) =>
      `${name}${sample.suffix}${labelText(sample.labels)} ${numberText(sample.value)}`
    ),
  ];
  return lines.join("\n") + "\n";
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

/** As Go writes numbers, which is what the format calls canonical: small ones with an exponent, which has two digits. */
export function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  const small = value !== 0 && Math.abs(value) < 1e-4;
  return (small ? value.toExponential() : String(value)).replace(/e([+-])(\d)$/, "e$10$2");
}
