import {
  context,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  trace,
  TraceFlags,
  type Context,
  type SpanContext,
  type TextMapGetter,
  type TextMapPropagator,
  type TextMapSetter,
} from "@opentelemetry/api";

/** W3C Trace Context, section 3.2: version, trace id, parent id, flags; later versions may append fields. */
const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** The span context of a `traceparent` header, or undefined when it is not valid. */
export const parseTraceparent = (text: string): SpanContext | undefined => {
  const [, version, traceId = "", spanId = "", flags = "", rest] = pattern.exec(text.trim()) ?? [];
  // Version ff is forbidden, and version 00 has exactly four fields.
  if (version === undefined || version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  const spanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
  return isSpanContextValid(spanContext) ? spanContext : undefined;
};

/** The `traceparent` header of a span context. */
export const formatTraceparent = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, "0")}`;

/** `traceparent` of the active span, to be stored beside what it caused; undefined outside of any trace. */
export const activeTraceparent = (): string | undefined => {
  const spanContext = trace.getSpanContext(context.active());
  return spanContext !== undefined && isSpanContextValid(spanContext) ? formatTraceparent(spanContext) : undefined;
};

/** Runs `fn` as a child of a stored `traceparent`; without a valid one, outside of any trace. */
export const withTraceparent = <Result>(traceparent: string | null | undefined, fn: () => Result): Result => {
  const parent = typeof traceparent === "string" ? parseTraceparent(traceparent) : undefined;
  return context.with(parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent), fn);
};

/** Carries trace context between processes in the W3C headers `traceparent` and `tracestate`. */
export class TraceContextPropagator implements TextMapPropagator {
  inject(active: Context, carrier: unknown, setter: TextMapSetter): void {
    const spanContext = trace.getSpanContext(active);
    if (spanContext === undefined || !isSpanContextValid(spanContext)) return;
    setter.set(carrier, "traceparent", formatTraceparent(spanContext));
    const state = spanContext.traceState?.serialize();
    if (state !== undefined && state !== "") setter.set(carrier, "tracestate", state);
  }

  extract(active: Context, carrier: unknown, getter: TextMapGetter): Context {
    const header = first(getter.get(carrier, "traceparent"));
    const spanContext = header === undefined ? undefined : parseTraceparent(header);
    if (spanContext === undefined) return active;
    const state = first(getter.get(carrier, "tracestate"));
    return trace.setSpanContext(
      active,
      state === undefined ? spanContext : { ...spanContext, traceState: createTraceState(state) },
    );
  }

  fields(): string[] {
    return ["traceparent", "tracestate"];
  }
}

const first = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);
