import { ValueType, type HrTime } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type CollectionResult,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import type { MetricFamily, MetricSource } from "./metric-family.ts";

const hrTime = (unixMs: number): HrTime => [Math.floor(unixMs / 1000), Math.round((unixMs % 1000) * 1e6)];

const metricData = (family: MetricFamily, startTime: HrTime, endTime: HrTime): MetricData => {
  const { metric } = family;
  const common = {
    descriptor: { name: metric.name, description: metric.meaning, unit: metric.unit, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  const times = { startTime, endTime };
  if (family.shape === "histogram") {
    return {
      ...common,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: family.points.map((point) => ({
        ...times,
        attributes: point.labels,
        value: {
          buckets: { boundaries: [...point.bounds], counts: [...point.counts] },
          sum: point.sum,
          count: point.count,
        },
      })),
    };
  }
  const dataPoints = family.points.map((point) => ({
    ...times,
    attributes: point.labels,
    value: point.value,
  }));
  return metric.kind === "counter"
    ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    : { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
};

/** Our metric sources as what the SDK's exporting reader collects from. `startMs` is when counting began. */
export const metricProducer = (sources: readonly MetricSource[], startMs: number): MetricProducer => ({
  collect: async (): Promise<CollectionResult> => {
    const now = hrTime(Date.now());
    const families = sources.flatMap((source) => source.collect());
    const metrics = families.map((family) => metricData(family, hrTime(startMs), now));
    return {
      resourceMetrics: {
        resource: resourceFromAttributes({}),
        scopeMetrics: metrics.length === 0 ? [] : [{ scope: { name: "bulkhead" }, metrics }],
      },
      errors: [],
    };
  },
});
