import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { streams, subjectFor, type MessageSubject, type StreamName } from "@bulkhead/contracts";
import { jetstream, jetstreamManager, type ConsumerMessages, type JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { BatchQueue } from "./batch-queue.ts";
import type { BusLog, Faults } from "./faults.ts";
import { readMessage, type Inbound, type RawMessage } from "./inbound.ts";
import type { Link } from "./link.ts";
import { StallWatch } from "./stall-watch.ts";
import { ensureConsumer, ensureStream, removeStream } from "./stream-setup.ts";

export type BatchHandler<Body> = (batch: readonly Inbound<Body>[]) => Promise<void>;

export interface ConsumeOptions {
  /** name of the durable consumer (default `folder`) */
  readonly durable?: string;
  /** default 256 */
  readonly maxBatch?: number;
}

interface Parts {
  readonly connection: NatsConnection;
  readonly link: Link;
  readonly faults: Faults;
  readonly log: BusLog;
  readonly stream: StreamName;
  readonly subject: MessageSubject;
  readonly handler: BatchHandler<unknown>;
  readonly options: ConsumeOptions;
}

/** A message with what its source wants to hear of it; nothing for one that no stream keeps. */
interface Pending {
  readonly inbound: Inbound<unknown>;
  readonly source: JsMsg | undefined;
}

/** Life of one pull: a consumer that vanished without a word is noticed after about as long, in milliseconds. */
const pullMs = 5_000;
/** Before a batch that failed is delivered again: the database may be back by then. */
const redeliverMs = 1_000;
/** A server that is still deleting a stream makes a broken one of that name; it is done long before. */
const settleMs = 1_000;
/** Before JetStream is tried again while the subject itself is listened to. */
const probeMs = 30_000;
/** Every host of the fleet, of either kind. */
const everyHost = { hostId: "*", isolation: "*" } as const;

/**
 * Brings a stream's messages to a handler, in batches, until stopped. Heals by itself: stream and consumer are made
 * when missing, after a reconnect and after losing them. Where JetStream cannot be used the subject is listened to
 * directly; senders repeat what is not acknowledged by other means.
 */
export class Consumption {
  /** Resolves after stop(), when the last batch is handled; never rejects. */
  readonly ended: Promise<void>;
  readonly #parts: Parts;
  readonly #queue: BatchQueue<Pending>;
  readonly #maxBatch: number;
  readonly #stopping = new AbortController();
  #mode: "starting" | "jetstream" | "core" = "starting";
  #messages: ConsumerMessages | undefined;
  /** how often in a row the stream brought nothing; then it is deleted before it is tried again */
  #stalls = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#maxBatch = parts.options.maxBatch ?? 256;
    this.#queue = new BatchQueue(this.#maxBatch);
    this.ended = Promise.all([this.#gather(), this.#work()]).then(() => undefined);
  }

  /** Where messages come from now. */
  get mode(): "starting" | "jetstream" | "core" {
    return this.#mode;
  }

  /** Takes no more messages and resolves when the batch under way is handled. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#messages?.stop();
    this.#queue.close();
    await this.ended;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #gather(): Promise<void> {
    const { log, link, stream } = this.#parts;
    while (!this.#stopped) {
      let pauseMs = probeMs;
      try {
        await this.#fromStream();
      } catch (err) {
        if (this.#stopped || link.closing) continue;
        if (this.#mode === "jetstream") {
          log.warn({ err, stream }, "stream lost, making it again");
          // Once may be an accident; what stalls again is left alone for longer.
          if (this.#stalls < 2) pauseMs = settleMs;
        } else log.warn({ err, stream }, "stream not usable, listening to its subject instead");
      }
      this.#mode = "core";
      await this.#fromSubject(pauseMs);
    }
  }

  async #fromStream(): Promise<void> {
    const { connection, link, stream, subject, log, options } = this.#parts;
    link.requireConnection();
    if (!link.hasJetStream) throw new Error("the server has no JetStream");
    const { name } = streams[stream];
    const durable = options.durable ?? "folder";
    const filter = subjectFor(subject.pattern, everyHost);
    const manager = await jetstreamManager(connection, { checkAPI: false });
    if (this.#stalls > 0) await removeStream(manager, name);
    await ensureStream(manager, stream, connection.info);
    await ensureConsumer(manager, { stream: name, durable, filter, maxAckPending: 4 * this.#maxBatch });
    const consumer = await jetstream(connection).consumers.get(name, durable);
    const messages = await consumer.consume({
      max_messages: this.#maxBatch,
      expires: pullMs,
      abort_on_missing_resource: true,
    });
    this.#messages = messages;
    if (this.#stopped) messages.stop();
    using watch = new StallWatch({
      listen: (heard) => connection.subscribe(filter, { callback: heard }),
      wanting: () => this.#queue.length < this.#maxBatch,
      stallMs: 2 * pullMs,
      stalled: () => {
        this.#stalls += 1;
        messages.stop(new Error("the stream brings nothing although there are messages"));
      },
    });
    this.#mode = "jetstream";
    log.info({ stream: name, durable }, "stream consumed");
    for await (const message of messages) {
      watch.delivered();
      this.#stalls = 0;
      this.#accept(message, message);
      await this.#queue.room();
    }
  }

  /** Until it is time to try the stream again: after a reconnect, or after `pauseMs`. */
  async #fromSubject(pauseMs: number): Promise<void> {
    const { connection, faults, link, subject } = this.#parts;
    const again = new AbortController();
    const wake = AbortSignal.any([again.signal, this.#stopping.signal]);
    if (wake.aborted) return;
    // Closed under us means that the process ends; all that is left is to wait for stop().
    if (connection.isClosed()) {
      await once(this.#stopping.signal, "abort");
      return;
    }
    const subscription = connection.subscribe(subjectFor(subject.pattern, everyHost), {
      callback: (error, message) => {
        if (error === null) this.#accept(message, undefined);
        else faults.add("not permitted", subject.pattern, { err: error });
      },
    });
    const reconnect = link.onReconnect(() => again.abort());
    try {
      await delay(pauseMs, undefined, { signal: wake });
    } catch {
      // Woken before the time: there is something better to do.
    } finally {
      reconnect.unsubscribe();
      subscription.unsubscribe();
    }
  }

  #accept(message: RawMessage, source: JsMsg | undefined): void {
    const { faults, subject } = this.#parts;
    try {
      this.#queue.push({ inbound: readMessage(subject, message), source });
    } catch (err) {
      faults.add("message refused", subject.pattern, { err, subject: message.subject });
      // It will never fit: to deliver it again would be for nothing.
      source?.term();
      return;
    }
    // The subject itself knows no back-pressure; the oldest is what its sender repeats first.
    if (source === undefined && this.#queue.length > 16 * this.#maxBatch) this.#queue.dropOldest();
  }

  async #work(): Promise<void> {
    const { faults, handler, subject } = this.#parts;
    for (let batch = await this.#queue.take(); batch !== undefined; batch = await this.#queue.take()) {
      try {
        await handler(batch.map(({ inbound }) => inbound));
        for (const { source } of batch) source?.ack();
      } catch (err) {
        faults.add("handler failed", subject.pattern, { err, batch: batch.length });
        for (const { source } of batch) source?.nak(redeliverMs);
      }
    }
  }
}
