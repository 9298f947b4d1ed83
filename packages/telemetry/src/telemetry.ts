import { context, diag, DiagLogLevel, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { idTracerProvider } from "./id-tracer.ts";
import { createMeters, type Meters } from "./meters.ts";
import type { MetricFamily, MetricSource } from "./metric-family.ts";
import type { Otlp } from "./otlp.ts";
import { TraceContextPropagator } from "./traceparent.ts";

export interface TelemetryOptions {
  /** `service.name` will be `bulkhead-<service>` */
  readonly service: string;
  /** OTLP/HTTP base URL; without it nothing is sent and the SDK is not loaded */
  readonly otlpEndpoint?: string | undefined;
  /** besides service and process: `host.id` and the like */
  readonly attributes?: Readonly<Record<string, string>>;
  /** metrics kept besides this process's own */
  readonly sources?: readonly MetricSource[];
  /** default 15,000 */
  readonly metricIntervalMs?: number;
  /** hears once a minute at most that exporting fails */
  readonly log?: { warn(fields: object, message: string): void };
}

/** Between two lines about a collector that does not answer, in milliseconds. */
const quietMs = 60_000;

/** Tracing and metrics of this process; made once, at start. */
export class Telemetry implements AsyncDisposable {
  readonly meters: Meters;
  readonly #sources: readonly MetricSource[];
  readonly #otlp: Otlp | undefined;

  private constructor(meters: Meters, sources: readonly MetricSource[], otlp: Otlp | undefined) {
    this.meters = meters;
    this.#sources = sources;
    this.#otlp = otlp;
  }

  /**
   * Installs context, W3C propagation and a tracer for the whole process. Without an endpoint spans have ids and are
   * not recorded.
   */
  static async start(options: TelemetryOptions): Promise<Telemetry> {
    const own = createMeters();
    const sources = [own, ...(options.sources ?? [])];
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new TraceContextPropagator());
    const { otlpEndpoint } = options;
    if (otlpEndpoint === undefined || otlpEndpoint === "") {
      trace.setGlobalTracerProvider(idTracerProvider);
      return new Telemetry(own.meters, sources, undefined);
    }
    reportExportFailures(options.log);
    const { startOtlp } = await import("./otlp.ts");
    const otlp = startOtlp({
      endpoint: otlpEndpoint,
      attributes: {
        "service.name": `bulkhead-${options.service}`,
        "service.namespace": "bulkhead",
        "process.pid": String(process.pid),
        ...options.attributes,
      },
      sources,
      metricIntervalMs: options.metricIntervalMs ?? 15_000,
      startMs: Date.now(),
    });
    trace.setGlobalTracerProvider(otlp.tracerProvider);
    return new Telemetry(own.meters, sources, otlp);
  }

  /** Present values of all sources. */
  collect(): MetricFamily[] {
    return this.#sources.flatMap((source) => source.collect());
  }

  /** Sends what is pending. Rejects when the collector does not take it; resolves at once without an endpoint. */
  async flush(): Promise<void> {
    await this.#otlp?.flush();
  }

  /** Sends what is pending and uninstalls everything; a collector that is away is not waited for beyond 5 s. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#otlp?.shutdown();
    } catch {
      // Said by the diagnostics already; the process ends all the same.
    } finally {
      trace.disable();
      propagation.disable();
      context.disable();
      diag.disable();
    }
  }
}

/** Installs telemetry for this process. */
export const startTelemetry = (options: TelemetryOptions): Promise<Telemetry> => Telemetry.start(options);

const reportExportFailures = (log: TelemetryOptions["log"]): void => {
  if (log === undefined) return;
  let saidAtMs = -Infinity;
  const say = (message: string): void => {
    if (performance.now() - saidAtMs < quietMs) return;
    saidAtMs = performance.now();
    log.warn({ cause: message.slice(0, 500) }, "telemetry not exported");
  };
  const silent = (): void => undefined;
  diag.setLogger(
    { error: say, warn: say, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
};
