import { randomBytes } from "node:crypto";
import {
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  trace,
  TraceFlags,
  type Context,
  type Span,
  type SpanOptions,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";

/** Random bytes in reserve: one call to the kernel serves some hundred ids. */
const reserveBytes = 4096;

let reserve = Buffer.alloc(0);

const randomId = (bytes: number): string => {
  if (reserve.length < bytes) reserve = randomBytes(reserveBytes);
  const id = reserve.subarray(0, bytes);
  reserve = reserve.subarray(bytes);
  return id.toString("hex");
};

/**
 * Spans that have ids and record nothing: logs, problem documents and messages carry trace ids although nobody
 * collects traces, at the price of a few bytes each.
 */
class IdTracer implements Tracer {
  startSpan(_name: string, options: SpanOptions = {}, active: Context = context.active()): Span {
    const parent = options.root === true ? undefined : trace.getSpanContext(active);
    const inherited = parent !== undefined && isSpanContextValid(parent) ? parent : undefined;
    return trace.wrapSpanContext({
      traceId: inherited?.traceId ?? randomId(16),
      spanId: randomId(8),
      // Another process may collect: a trace that starts here is wanted there.
      traceFlags: inherited?.traceFlags ?? TraceFlags.SAMPLED,
      ...(inherited?.traceState === undefined ? {} : { traceState: inherited.traceState }),
    });
  }

  startActiveSpan<Fn extends (span: Span) => unknown>(name: string, ...rest: unknown[]): ReturnType<Fn> {
    const fn = rest.pop() as Fn;
    const [options, parent] = rest as [SpanOptions?, Context?];
    const active = parent ?? context.active();
    const span = this.startSpan(name, options, active);
    const inside = trace.setSpan(options?.root === true ? ROOT_CONTEXT : active, span);
    return context.with(inside, () => fn(span) as ReturnType<Fn>);
  }
}

const tracer = new IdTracer();

/** Gives every name the same tracer: none records. */
export const idTracerProvider: TracerProvider = { getTracer: () => tracer };
