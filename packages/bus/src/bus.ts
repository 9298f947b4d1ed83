import { context } from "@opentelemetry/api";
import {
  fleetError,
  subjectFor,
  type BodyOf,
  type MessageSubject,
  type ReplyOf,
  type RequestSubject,
  type StreamName,
  type SubjectParameters,
} from "@bulkhead/contracts";
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { encode } from "./codec.ts";
import { Consumption, type BatchHandler, type ConsumeOptions } from "./consumption.ts";
import type { BusLog, Faults } from "./faults.ts";
import { readMessage, type MessageContext } from "./inbound.ts";
import type { Link } from "./link.ts";
import { assertFits } from "./payload.ts";
import { sendRequest } from "./requests.ts";
import { answer, type RequestHandler } from "./responses.ts";
import { contextOf, traceHeaders } from "./trace-headers.ts";

export interface Subscription {
  unsubscribe(): void;
}

export interface BusCounters {
  readonly refused: number;
  readonly handlerFailures: number;
  readonly dropped: number;
  readonly reconnects: number;
}

type MessageHandler = (body: unknown, context: MessageContext) => void | Promise<void>;

/** At shutdown: handlers that are running may finish, replies go out. */
const drainMs = 5_000;

/** Connection to NATS that only speaks the subjects catalogue. Made by connectBus(). */
export class Bus implements AsyncDisposable {
  readonly #connection: NatsConnection;
  readonly #link: Link;
  readonly #faults: Faults;
  readonly #log: BusLog;
  readonly #consumptions = new Set<Consumption>();

  constructor(parts: { connection: NatsConnection; link: Link; faults: Faults; log: BusLog }) {
    this.#connection = parts.connection;
    this.#link = parts.link;
    this.#faults = parts.faults;
    this.#log = parts.log;
  }

  /** Version of the server we are (or were last) connected to. */
  get serverVersion(): string {
    return this.#link.serverVersion;
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  get counters(): BusCounters {
    return {
      refused: this.#faults.total("message refused"),
      handlerFailures: this.#faults.total("handler failed"),
      dropped: this.#faults.total("message dropped while disconnected"),
      reconnects: this.#link.reconnects,
    };
  }

  /** Calls back after each reconnect, when subscriptions are in place again. */
  onReconnect(callback: () => void): Subscription {
    return this.#link.onReconnect(callback);
  }

  /** Rejects BUS_UNAVAILABLE while there is no connection; for readiness. */
  async ping(): Promise<void> {
    this.#link.requireConnection();
    await this.#connection.flush();
  }

  /**
   * Sends a message with the active trace context. While disconnected it is dropped and counted (false): everything on
   * the bus is repeated or superseded, and an old heartbeat sent late would say what is no longer true. Throws when the
   * body does not fit its schema, and BODY_TOO_LARGE.
   */
  publish<Subject extends MessageSubject>(
    subject: Subject,
    parameters: SubjectParameters,
    body: BodyOf<Subject>,
  ): boolean {
    const name = subjectFor(subject.pattern, parameters);
    const text = encode(subject.body, body);
    assertFits(text, { link: this.#link, what: `A message of ${subject.pattern}`, code: "BODY_TOO_LARGE" });
    if (!this.#link.connected) {
      this.#faults.add("message dropped while disconnected", subject.pattern, {});
      return false;
    }
    const headers = traceHeaders();
    this.#connection.publish(name, text, headers === undefined ? {} : { headers });
    return true;
  }

  /** Calls `handler` with each valid message, in its sender's trace context. Parameters may be `*`. */
  subscribe<Subject extends MessageSubject>(
    subject: Subject,
    parameters: SubjectParameters,
    handler: (body: BodyOf<Subject>, context: MessageContext) => void | Promise<void>,
  ): Subscription {
    return this.#connection.subscribe(subjectFor(subject.pattern, parameters), {
      callback: (error, message) => {
        if (error === null) void this.#deliver(subject, handler as MessageHandler, message);
        else this.#faults.add("not permitted", subject.pattern, { err: error });
      },
    });
  }

  /**
   * Asks and waits at most the subject's `timeoutMs`. Rejects with the other side's error, HOST_UNREACHABLE when an
   * agent does not answer, BODY_TOO_LARGE, or BUS_UNAVAILABLE.
   */
  request<Subject extends RequestSubject>(
    subject: Subject,
    parameters: SubjectParameters,
    body: BodyOf<Subject>,
  ): Promise<ReplyOf<Subject>> {
    const request = { connection: this.#connection, link: this.#link, subject, parameters, body };
    return sendRequest(request) as Promise<ReplyOf<Subject>>;
  }

  /** Answers requests. Several processes with one `queue` share them. What the handler throws is the reply's error. */
  respond<Subject extends RequestSubject>(
    subject: Subject,
    parameters: SubjectParameters,
    handler: RequestHandler<BodyOf<Subject>, ReplyOf<Subject>>,
    options: { queue?: string } = {},
  ): Subscription {
    const answerOne = answer(subject, handler as RequestHandler<unknown, unknown>, {
      link: this.#link,
      faults: this.#faults,
    });
    return this.#connection.subscribe(subjectFor(subject.pattern, parameters), {
      ...options,
      callback: (error, message) => {
        if (error !== null) this.#faults.add("not permitted", subject.pattern, { err: error });
        else void answerOne(message);
      },
    });
  }

  /**
   * Consumes a stream's subject in batches with one durable consumer, made when missing and made again when lost; with a
   * server without JetStream, the subject itself. A batch is acknowledged when `handler` resolves, else it comes again.
   */
  consume<Subject extends MessageSubject>(
    stream: StreamName,
    subject: Subject,
    handler: BatchHandler<BodyOf<Subject>>,
    options: ConsumeOptions = {},
  ): Consumption {
    if (subject.stream !== stream) {
      throw fleetError("INTERNAL", `The subject ${subject.pattern} is not buffered by the stream ${stream}.`);
    }
    const consumption = new Consumption({
      connection: this.#connection,
      link: this.#link,
      faults: this.#faults,
      log: this.#log,
      stream,
      subject,
      handler: handler as BatchHandler<unknown>,
      options,
    });
    this.#consumptions.add(consumption);
    void consumption.ended.then(() => this.#consumptions.delete(consumption));
    return consumption;
  }

  /** Stops intake, lets running handlers finish for up to 5 s, sends what is pending and closes. */
  async drain(): Promise<void> {
    if (this.#link.closing) return;
    this.#link.close();
    await Promise.all([...this.#consumptions].map((consumption) => consumption.stop()));
    const timer = setTimeout(() => void this.#connection.close(), drainMs);
    try {
      if (this.#link.connected) await this.#connection.drain();
      else await this.#connection.close();
    } catch (err) {
      // The connection went away under the drain: there is nothing left to send to.
      this.#log.debug({ err }, "bus closed without drain");
      await this.#connection.close();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs a handler; never rejects. The handler starts before this returns, so that messages keep their order. */
  async #deliver(subject: MessageSubject, handler: MessageHandler, message: Msg): Promise<void> {
    const { pattern } = subject;
    let inbound;
    try {
      inbound = readMessage(subject, message);
    } catch (err) {
      this.#faults.add("message refused", pattern, { err, subject: message.subject });
      return;
    }
    const { body, ...about } = inbound;
    try {
      await context.with(contextOf(message.headers), handler, undefined, body, about);
    } catch (err) {
      this.#faults.add("handler failed", pattern, { err, subject: message.subject });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }
}
