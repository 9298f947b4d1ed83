/** A row of the metric catalogue, as this package needs it. */
export interface MetricDefinition {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  /** UCUM */
  readonly unit: string;
  readonly labels: readonly string[];
  readonly meaning: string;
}

export type Labels = Readonly<Record<string, string>>;

export interface NumberPoint {
  readonly labels: Labels;
  readonly value: number;
}

export interface HistogramPoint {
  readonly labels: Labels;
  /** observations per bucket: one more than bounds, the last is above all of them */
  readonly counts: readonly number[];
  readonly bounds: readonly number[];
  readonly sum: number;
  readonly count: number;
}

/** One metric with the present values of its series; what both exporters read. */
export type MetricFamily =
  | { readonly shape: "numbers"; readonly metric: MetricDefinition; readonly points: readonly NumberPoint[] }
  | { readonly shape: "histogram"; readonly metric: MetricDefinition; readonly points: readonly HistogramPoint[] };

/** Anything that knows metrics: this process's own, or those it keeps for others. */
export interface MetricSource {
  readonly collect: () => MetricFamily[];
}
