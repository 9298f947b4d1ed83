import { type TracerProvider } from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, TracerProvider as SdkTracerProvider } from "@opentelemetry/sdk-trace";
import type { MetricSource } from "./metric-family.ts";
import { metricProducer } from "./otlp-families.ts";

export interface OtlpOptions {
  /** base URL, without `/v1/traces` */
  readonly endpoint: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly sources: readonly MetricSource[];
  readonly metricIntervalMs: number;
  readonly startMs: number;
}

export interface Otlp {
  readonly tracerProvider: TracerProvider;
  /** Sends what is pending; rejects when the collector does not take it. */
  flush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** One export may take that long, in milliseconds; a collector that hangs must not hold memory or the shutdown. */
const exportMs = 5_000;

/**
 * Traces and metrics pushed by OTLP over HTTP. A module of its own that is loaded only when there is an endpoint: the
 * SDK and its exporters cost a process about 7 MiB.
 */
export const startOtlp = (options: OtlpOptions): Otlp => {
  const base = options.endpoint.replace(/\/+$/, "");
  const resource = resourceFromAttributes(options.attributes);
  const tracerProvider = new SdkTracerProvider({
    resource,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url: `${base}/v1/traces`, timeoutMillis: exportMs }),
        exportTimeoutMillis: exportMs,
      }),
    ],
  });
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics`, timeoutMillis: exportMs }),
    exportIntervalMillis: options.metricIntervalMs,
    exportTimeoutMillis: Math.min(exportMs, options.metricIntervalMs),
    metricProducers: [metricProducer(options.sources, options.startMs)],
  });
  const meterProvider = new MeterProvider({ resource, readers: [reader] });
  return {
    tracerProvider,
    flush: async () => {
      const results = await Promise.allSettled([tracerProvider.forceFlush(), meterProvider.forceFlush()]);
      // The SDK rejects with errors, and with arrays of them.
      const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason].flat() : []));
      if (failures.length > 0) throw new AggregateError(failures, "the collector did not take everything");
    },
    shutdown: async () => {
      await Promise.all([tracerProvider.shutdown(), meterProvider.shutdown()]);
    },
  };
};
