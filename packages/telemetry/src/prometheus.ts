import type { HistogramPoint, Labels, MetricDefinition, MetricFamily } from "./metric-family.ts";

/** Content type of the text format. */
export const prometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/** UCUM units as the OpenTelemetry-to-Prometheus rules write them; `{…}` is an annotation and written nowhere. */
const unitSuffix: Readonly<Record<string, string>> = { s: "seconds", By: "bytes" };

/** Longest label value shown: hosts send them, and a scrape must stay small. */
const maxValueLength = 256;

const identifier = (name: string): string => name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^([0-9])/, "_$1");

/** Name of a catalogue metric in Prometheus: dots to underscores, unit and `_total` appended. */
export const prometheusName = ({ name, unit, kind }: MetricDefinition): string => {
  const base = identifier(name);
  // A gauge without unit is a ratio there; a counter without unit is just a count.
  const suffix = unitSuffix[unit] ?? (unit === "1" && kind === "gauge" ? "ratio" : undefined);
  const withUnit = suffix === undefined || base.endsWith(`_${suffix}`) ? base : `${base}_${suffix}`;
  return kind === "counter" && !withUnit.endsWith("_total") ? `${withUnit}_total` : withUnit;
};

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");

/** Backslash, quote and line feed are escaped; other control characters and broken UTF-16 are replaced. */
const escapeValue = (text: string): string =>
  text
    .slice(0, maxValueLength)
    .toWellFormed()
    // oxlint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0009\u000b-\u001f\u007f]/g, "\ufffd")
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("\n", "\\n");

const labelText = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${identifier(name)}="${escapeValue(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
};

const numberText = (value: number): string => {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
};

const histogramLines = (name: string, point: HistogramPoint): string[] => {
  let below = 0;
  const buckets = point.counts.map((count, index) => {
    below += count;
    const bound = point.bounds[index];
    return `${name}_bucket${labelText({ ...point.labels, le: bound === undefined ? "+Inf" : String(bound) })} ${below}`;
  });
  const labels = labelText(point.labels);
  return [...buckets, `${name}_sum${labels} ${numberText(point.sum)}`, `${name}_count${labels} ${point.count}`];
};

/** The text exposition format 0.0.4 of metric families; a family that occurs more than once is written once. */
export const renderPrometheus = (families: readonly MetricFamily[]): string => {
  const byName = new Map<string, MetricFamily[]>();
  for (const family of families) {
    const name = prometheusName(family.metric);
    byName.set(name, [...(byName.get(name) ?? []), family]);
  }
  const lines: string[] = [];
  for (const [name, group] of byName) {
    const [head] = group;
    if (head === undefined) continue;
    lines.push(`# HELP ${name} ${escapeHelp(head.metric.meaning)}`, `# TYPE ${name} ${head.metric.kind}`);
    for (const family of group) {
      if (family.shape === "histogram") lines.push(...family.points.flatMap((point) => histogramLines(name, point)));
      else lines.push(...family.points.map(({ labels, value }) => `${name}${labelText(labels)} ${numberText(value)}`));
    }
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
};
