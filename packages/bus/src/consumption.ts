import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { streams, subjectFor, type MessageSubject, type StreamName } from "@bulkhead/contracts";
import { jetstream, jetstreamManager, type ConsumerMessages, type JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { BatchQueue } from "./batch-queue.ts";
import type { BusLog, Faults } from "./faults.ts";
import { readMessage, type Inbound, type RawMessage } from "./inbound.ts";
import type { Link } from "./link.ts";
import { ensureConsumer, ensureStream } from "./stream-setup.ts";

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
      try {
        await this.#fromStream();
      } catch (err) {
        if (this.#stopped || link.closing) continue;
        const wasConsuming = this.#mode === "jetstream";
        this.#mode = "core";
        // Stream or consumer vanished while it was consumed: they are made again at once.
        if (wasConsuming) {
          log.warn({ err, stream }, "stream lost, making it again");
          continue;
        }
        log.warn({ err, stream }, "stream not usable, listening to its subject instead");
        await this.#fromSubject();
      }
    }
  }

  async #fromStream(): Promise<void> {
    const { connection, link, stream, subject, log, options } = this.#parts;
    link.requireConnection();
    if (!link.hasJetStream) throw new Error("the server has no JetStream");
    const { name } = streams[stream];
    const durable = options.durable ?? "folder";
    const manager = await jetstreamManager(connection, { checkAPI: false });
    await ensureStream(manager, stream, connection.info);
    await ensureConsumer(manager, {
      stream: name,
      durable,
      filter: subjectFor(subject.pattern, everyHost),
      maxAckPending: 4 * this.#maxBatch,
    });
    const consumer = await jetstream(connection).consumers.get(name, durable);
    this.#messages = await consumer.consume({
      max_messages: this.#maxBatch,
      expires: pullMs,
      abort_on_missing_resource: true,
    });
    if (this.#stopped) this.#messages.stop();
    this.#mode = "jetstream";
    log.info({ stream: name, durable }, "stream consumed");
    for await (const message of this.#messages) {
      this.#accept(message, message);
      await this.#queue.room();
    }
  }

  /** Until it is time to try the stream again: after a reconnect, or after a while. */
  async #fromSubject(): Promise<void> {
    const { connection, faults, link, subject } = this.#parts;
    const again = new AbortController();
    const wake = AbortSignal.any([again.signal, this.#stopping.signal]);
    // Closed under us means that the process ends; all that is left is to wait for stop().
    if (connection.isClosed()) {
      await once(this.#stopping.signal, "abort");
      return;
    }
    const subscription = connection.subscribe(subjectFor(subject.pattern, everyHost), {
      callback: (error, message) => {
        if (error !== null) faults.add("not permitted", subject.pattern, { err: error });
        else this.#accept(message, undefined);
      },
    });
    const reconnect = link.onReconnect(() => again.abort());
    try {
      await delay(probeMs, undefined, { signal: wake });
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
