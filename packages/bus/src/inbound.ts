import { parseSubject, type MessageSubject, type RequestSubject, type SubjectParameters } from "@bulkhead/contracts";
import type { MsgHdrs } from "@nats-io/transport-node";
import { BadMessage, decode } from "./codec.ts";
import { traceparentOf } from "./trace-headers.ts";

export interface MessageContext {
  /** of the subject it came on: the server checked that the sender may use them */
  readonly parameters: SubjectParameters;
  readonly traceparent: string | undefined;
}

export interface Inbound<Body> extends MessageContext {
  readonly body: Body;
}

/** What of a message this reads; core and JetStream messages have it. */
export interface RawMessage {
  readonly subject: string;
  readonly headers?: MsgHdrs | undefined;
  string(): string;
}

/**
 * A message checked against its subject's schema. Throws BadMessage, also when the body names another host or kind than
 * the subject: the server vouches for the subject alone.
 */
export const readMessage = (subject: MessageSubject | RequestSubject, message: RawMessage): Inbound<unknown> => {
  const parameters = parseSubject(subject.pattern, message.subject);
  if (parameters === undefined) throw new BadMessage("", "its subject does not fit the pattern");
  const body = decode(subject.body, message.string());
  const claims = body as Partial<SubjectParameters>;
  for (const name of ["hostId", "isolation"] as const) {
    if (claims[name] !== undefined && claims[name] !== parameters[name]) {
      throw new BadMessage(`/${name}`, "names another sender than its subject");
    }
  }
  return { body, parameters, traceparent: traceparentOf(message.headers) };
};
