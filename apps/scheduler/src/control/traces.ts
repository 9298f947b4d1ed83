import { type Attributes, ROOT_CONTEXT, SpanStatusCode, trace } from "@opentelemetry/api";
import { parseTraceparent } from "@bulkhead/telemetry";

export interface TracedWork {
  /** `traceparent` of everything that the work is done for; equal ones count once */
  readonly parents: Iterable<string | null | undefined>;
  readonly attributes: Attributes;
}

/**
 * Runs work that serves many requests at once as one span in each of their traces, so that a trace shows what its own
 * request waited for. A rejection marks them all. What belongs to no trace costs nothing.
 */
export const inTraces = async <Result>(
  name: `scheduler.${string}`,
  { parents, attributes }: TracedWork,
  work: () => Result | Promise<Result>,
): Promise<Result> => {
  const tracer = trace.getTracer("bulkhead.scheduler");
  const startTime = Date.now();
  const spans = [...new Set(parents)].flatMap((parent) => {
    const spanContext = typeof parent === "string" ? parseTraceparent(parent) : undefined;
    if (spanContext === undefined) return [];
    return [tracer.startSpan(name, { attributes, startTime }, trace.setSpanContext(ROOT_CONTEXT, spanContext))];
  });
  try {
    return await work();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    for (const span of spans) span.setStatus({ code: SpanStatusCode.ERROR, message });
    throw error;
  } finally {
    for (const span of spans) span.end();
  }
};
