import { metrics, type MetricKey } from "@bulkhead/contracts";
import type { HistogramPoint, Labels, MetricDefinition, MetricFamily, MetricSource } from "./metric-family.ts";

type Catalogue = typeof metrics;
/** The closed label set of a metric, every label required. */
export type LabelsOf<Key extends MetricKey> = Readonly<Record<Catalogue[Key]["labels"][number], string>>;

interface Counter<L> {
  /** `value` must not be negative. */
  add(value: number, labels: L): void;
}
interface Gauge<L> {
  set(value: number, labels: L): void;
}
interface Histogram<L> {
  record(value: number, labels: L): void;
}
type Recorder<Key extends MetricKey> = Catalogue[Key]["kind"] extends "counter"
  ? Counter<LabelsOf<Key>>
  : Catalogue[Key]["kind"] extends "gauge"
    ? Gauge<LabelsOf<Key>>
    : Histogram<LabelsOf<Key>>;

/** One recorder per row of the metric catalogue, typed by its kind and labels. */
export type Meters = { readonly [Key in MetricKey]: Recorder<Key> };

/** Seconds; fine where our promises lie (1 to 25 ms), coarse above. */
export const durationBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** Series per metric; labels are closed sets, so more is a mistake that must not cost memory. */
const maxSeries = 2_000;

/** Where everything beyond `maxSeries` is counted, as OpenTelemetry names it. */
const overflowLabels: Labels = { "otel.metric.overflow": "true" };

/** The series of one metric by their label values. */
class SeriesTable<Series> {
  readonly #labels: readonly string[];
  readonly #make: (labels: Labels) => Series;
  readonly #series = new Map<string, Series>();
  #overflow: Series | undefined;

  constructor(labels: readonly string[], make: (labels: Labels) => Series) {
    this.#labels = labels;
    this.#make = make;
  }

  of(labels: Labels): Series {
    const key = JSON.stringify(this.#labels.map((name) => labels[name]));
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= maxSeries) return (this.#overflow ??= this.#make(overflowLabels));
    const made = this.#make(Object.fromEntries(this.#labels.map((name) => [name, labels[name] ?? ""])));
    this.#series.set(key, made);
    return made;
  }

  all(): Series[] {
    return this.#overflow === undefined ? [...this.#series.values()] : [...this.#series.values(), this.#overflow];
  }
}

interface NumberSeries {
  readonly labels: Labels;
  value: number;
}

interface HistogramSeries {
  readonly labels: Labels;
  readonly counts: number[];
  sum: number;
  count: number;
}

interface Instrument {
  readonly recorder: Counter<Labels> & Gauge<Labels> & Histogram<Labels>;
  readonly family: () => MetricFamily;
}

const numberInstrument = (metric: MetricDefinition): Instrument => {
  const table = new SeriesTable<NumberSeries>(metric.labels, (labels) => ({ labels, value: 0 }));
  return {
    recorder: {
      add: (value, labels) => {
        if (!(value >= 0)) throw new RangeError(`${metric.name} cannot grow by ${value}`);
        table.of(labels).value += value;
      },
      set: (value, labels) => {
        table.of(labels).value = value;
      },
      record: () => undefined,
    },
    family: () => ({ shape: "numbers", metric, points: table.all().map(({ labels, value }) => ({ labels, value })) }),
  };
};

const histogramInstrument = (metric: MetricDefinition): Instrument => {
  const table = new SeriesTable<HistogramSeries>(metric.labels, (labels) => ({
    labels,
    counts: Array.from({ length: durationBounds.length + 1 }, () => 0),
    sum: 0,
    count: 0,
  }));
  const point = ({ labels, counts, sum, count }: HistogramSeries): HistogramPoint => ({
    labels,
    counts: [...counts],
    bounds: durationBounds,
    sum,
    count,
  });
  return {
    recorder: {
      add: () => undefined,
      set: () => undefined,
      record: (value, labels) => {
        const series = table.of(labels);
        const above = durationBounds.findIndex((bound) => value <= bound);
        const bucket = above < 0 ? durationBounds.length : above;
        series.counts[bucket] = (series.counts[bucket] ?? 0) + 1;
        series.sum += value;
        series.count += 1;
      },
    },
    family: () => ({ shape: "histogram", metric, points: table.all().map(point) }),
  };
};

const instrument = (metric: MetricDefinition): Instrument =>
  metric.kind === "histogram" ? histogramInstrument(metric) : numberInstrument(metric);

/** Recorders for the whole catalogue, and what they recorded. A metric nobody touched is not shown. */
export const createMeters = (): { readonly meters: Meters } & MetricSource => {
  const instruments = Object.entries(metrics).map(([key, metric]) => [key, instrument(metric)] as const);
  return {
    meters: Object.fromEntries(instruments.map(([key, { recorder }]) => [key, recorder])) as unknown as Meters,
    collect: () => instruments.map(([, { family }]) => family()).filter(({ points }) => points.length > 0),
  };
};
