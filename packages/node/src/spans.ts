import {
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Span,
} from "@opentelemetry/api";
import { textOf } from "./log.ts";

/** W3C trace context, version 00. */
const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

const parentOf = (traceparent: string | undefined) => {
  const [, traceId, spanId, flags] = pattern.exec(traceparent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return ROOT_CONTEXT;
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
};

/** The span's own `traceparent`, or `otherwise` where no tracer is set up. */
export const traceparentOf = (span: Span, otherwise: string | undefined): string | undefined => {
  const { traceId, spanId, traceFlags } = span.spanContext();
  if (!isSpanContextValid(span.spanContext())) return otherwise;
  return `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, "0")}`;
};

/** Runs `task` in a span named `component.operation` below the given W3C parent; a rejection marks the span. */
export const inSpan = async <Result>(
  name: string,
  options: { traceparent: string | undefined; attributes: Attributes },
  task: (span: Span) => Promise<Result>,
): Promise<Result> => {
  const parent = parentOf(options.traceparent);
  const span = trace.getTracer("bulkhead.node").startSpan(name, { attributes: options.attributes }, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => task(span));
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: textOf(error) });
    throw error;
  } finally {
    span.end();
  }
};
