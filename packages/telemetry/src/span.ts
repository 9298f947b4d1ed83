import { SpanStatusCode, trace, type Attributes, type Span } from "@opentelemetry/api";

/**
 * Runs `fn` in a span named `component.operation` that is active inside it. A rejection is recorded on the span and
 * passed on.
 */
export const withSpan = async <Result>(
  name: `${string}.${string}`,
  attributes: Attributes,
  fn: (span: Span) => Promise<Result> | Result,
): Promise<Result> =>
  trace.getTracer("bulkhead").startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await fn(span);
    } catch (error) {
      if (error instanceof Error) span.recordException(error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
      throw error;
    } finally {
      span.end();
    }
  });
