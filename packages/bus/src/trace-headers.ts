import { context, propagation, trace, type Context, type TextMapGetter, type TextMapSetter } from "@opentelemetry/api";
import { headers, type MsgHdrs } from "@nats-io/transport-node";

const setter: TextMapSetter<MsgHdrs> = { set: (carrier, key, value) => carrier.set(key, value) };
const getter: TextMapGetter<MsgHdrs> = {
  keys: (carrier) => carrier.keys(),
  get: (carrier, key) => carrier.get(key) || undefined,
};

/** W3C trace context of what is going on here, as headers of a message; undefined when there is none to carry. */
export const traceHeaders = (): MsgHdrs | undefined => {
  if (trace.getSpanContext(context.active()) === undefined) return undefined;
  const carrier = headers();
  propagation.inject(context.active(), carrier, setter);
  return carrier;
};

/** Context to handle a message in: its sender's span is the parent. */
export const contextOf = (carrier: MsgHdrs | undefined): Context =>
  carrier === undefined ? context.active() : propagation.extract(context.active(), carrier, getter);

/** The sender's `traceparent` as it came. */
export const traceparentOf = (carrier: MsgHdrs | undefined): string | undefined =>
  carrier?.get("traceparent") || undefined;
