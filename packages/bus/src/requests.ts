import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import {
  fleetError,
  subjectFor,
  type FleetError,
  type RequestSubject,
  type SubjectParameters,
} from "@bulkhead/contracts";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { decode, encode } from "./codec.ts";
import type { Link } from "./link.ts";
import { assertFits } from "./payload.ts";
import { decodeFailure, errorHeader } from "./reply.ts";
import { traceHeaders } from "./trace-headers.ts";

interface Request {
  readonly connection: NatsConnection;
  readonly link: Link;
  readonly subject: RequestSubject;
  readonly parameters: SubjectParameters;
  readonly body: unknown;
}

/** Who does not answer, in the table's terms: an agent is a host, a scheduler is our way to the control plane. */
const unreachable = ({ subject, parameters }: Request, why: string, cause: unknown): FleetError =>
  subject.publisher === "scheduler"
    ? fleetError("HOST_UNREACHABLE", `The ${parameters.isolation} agent of host ${parameters.hostId} ${why}.`, {
        cause,
      })
    : fleetError("BUS_UNAVAILABLE", `No scheduler answers: the request ${why}.`, { cause });

const toFleetError = (error: unknown, request: Request): FleetError => {
  if (error instanceof errors.TimeoutError) {
    return unreachable(request, `got no answer within ${request.subject.timeoutMs} ms`, error);
  }
  if (error instanceof errors.RequestError && error.isNoResponders()) {
    return unreachable(request, "has nobody who listens", error);
  }
  const why = error instanceof Error ? error.message : String(error);
  return fleetError("BUS_UNAVAILABLE", `The request was not sent: ${why}.`, { cause: error });
};

/** One request in a client span; its reply checked, or the failure that came instead of it thrown. */
export const sendRequest = async (request: Request): Promise<unknown> => {
  const { connection, link, subject, parameters, body } = request;
  const name = subjectFor(subject.pattern, parameters);
  const text = encode(subject.body, body);
  assertFits(text, { link, what: `A request of ${subject.pattern}`, code: "BODY_TOO_LARGE" });
  link.requireConnection();
  const tracer = trace.getTracer("bulkhead.bus");
  const attributes = { "messaging.system": "nats", "messaging.destination.template": subject.pattern };
  return tracer.startActiveSpan("bus.request", { kind: SpanKind.CLIENT, attributes }, async (span) => {
    try {
      const headers = traceHeaders();
      const options = { timeout: subject.timeoutMs, ...(headers === undefined ? {} : { headers }) };
      const reply = await connection.request(name, text, options).catch((error: unknown) => {
        throw toFleetError(error, request);
      });
      if (reply.headers?.has(errorHeader) === true) throw decodeFailure(reply.string());
      return decode(subject.reply, reply.string());
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : "" });
      throw error;
    } finally {
      span.end();
    }
  });
};
