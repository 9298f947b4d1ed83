import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { fleetError, isFleetError, type RequestSubject } from "@bulkhead/contracts";
import { headers, type Msg } from "@nats-io/transport-node";
import { BadMessage, encode } from "./codec.ts";
import type { Faults } from "./faults.ts";
import { readMessage, type MessageContext } from "./inbound.ts";
import type { Link } from "./link.ts";
import { assertFits } from "./payload.ts";
import { encodeFailure, errorHeader } from "./reply.ts";
import { contextOf } from "./trace-headers.ts";

export interface RequestContext extends MessageContext {
  /** Aborted when the asker has given up. */
  readonly signal: AbortSignal;
}

export type RequestHandler<Body, Reply> = (body: Body, context: RequestContext) => Promise<Reply>;

/** Requests of one subject handled at once; more are told OVERLOADED, so that memory stays bounded. */
const maxInFlight = 512;

/** A request that does not fit is the asker's fault; a reply that does not fit is ours and says nothing more. */
const encodeReply = (subject: RequestSubject, reply: unknown): string => {
  try {
    return encode(subject.reply, reply);
  } catch (cause) {
    throw new Error("reply does not fit its schema", { cause });
  }
};

/** Turns a handler into one that takes a raw message, always replies and never throws. */
export const answer = (
  subject: RequestSubject,
  handler: RequestHandler<unknown, unknown>,
  { link, faults }: { link: Link; faults: Faults },
): ((message: Msg) => Promise<void>) => {
  const { pattern, timeoutMs } = subject;
  let inFlight = 0;
  const fail = (message: Msg, error: unknown): void => {
    const { code, text } = encodeFailure(error);
    const failure = headers();
    failure.set(errorHeader, code);
    send(message, text, failure);
  };
  const send = (message: Msg, text: string, extra?: ReturnType<typeof headers>): void => {
    try {
      message.respond(text, extra === undefined ? {} : { headers: extra });
    } catch (err) {
      faults.add("reply not sent", pattern, { err });
    }
  };
  const reply = (message: Msg, body: unknown): void => {
    const text = encodeReply(subject, body);
    try {
      assertFits(text, { link, what: `The answer of ${pattern}`, code: "ANSWER_TOO_LARGE" });
    } catch (err) {
      faults.add("reply too large", pattern, { err, subject: message.subject });
      throw err;
    }
    send(message, text);
  };
  const handle = async (message: Msg): Promise<void> => {
    const tracer = trace.getTracer("bulkhead.bus");
    const attributes = { "messaging.system": "nats", "messaging.destination.template": pattern };
    const parent = contextOf(message.headers);
    const span = tracer.startSpan("bus.respond", { kind: SpanKind.SERVER, attributes }, parent);
    try {
      const { body, ...about } = readMessage(subject, message);
      const call = { ...about, signal: AbortSignal.timeout(timeoutMs) };
      reply(message, await context.with(trace.setSpan(parent, span), handler, undefined, body, call));
    } catch (err) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: err instanceof Error ? err.message : "" });
      if (err instanceof BadMessage) faults.add("message refused", pattern, { err, subject: message.subject });
      else if (!isFleetError(err)) faults.add("handler failed", pattern, { err, subject: message.subject });
      fail(message, err instanceof BadMessage ? fleetError("REQUEST_INVALID", `The message ${err.message}.`) : err);
    } finally {
      span.end();
    }
  };
  return async (message) => {
    if (message.reply === undefined || message.reply === "") return;
    if (inFlight >= maxInFlight) {
      faults.add("request refused, too many at once", pattern, {});
      fail(message, fleetError("OVERLOADED", `More than ${maxInFlight} requests at once.`));
      return;
    }
    inFlight += 1;
    try {
      await handle(message);
    } finally {
      inFlight -= 1;
    }
  };
};
