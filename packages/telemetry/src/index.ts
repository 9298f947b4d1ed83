export { createMeters, durationBounds } from "./meters.ts";
export type { LabelsOf, Meters } from "./meters.ts";
export type {
  HistogramPoint,
  Labels,
  MetricDefinition,
  MetricFamily,
  MetricSource,
  NumberPoint,
} from "./metric-family.ts";
export { prometheusContentType, prometheusName, renderPrometheus } from "./prometheus.ts";
export { withSpan } from "./span.ts";
export { startTelemetry, Telemetry } from "./telemetry.ts";
export type { TelemetryOptions } from "./telemetry.ts";
export { activeTraceparent, formatTraceparent, parseTraceparent, withTraceparent } from "./traceparent.ts";
