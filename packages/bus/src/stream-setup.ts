import { isDeepStrictEqual } from "node:util";
import { fleetError, streams, type StreamName } from "@bulkhead/contracts";
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type ConsumerConfig,
  type JetStreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos, type ServerInfo } from "@nats-io/transport-node";

/** JetStream's own error numbers (server/errors.json). */
const streamNotFound = 10_059;
const consumerNotFound = 10_014;

/** Unacknowledged that long, a message is delivered again, in milliseconds. */
const ackWaitMs = 30_000;

/** Three copies where the cluster has three servers to put them on. */
const replicasFor = (info: ServerInfo | undefined): number =>
  info?.cluster !== undefined && (info.connect_urls?.length ?? 0) >= 3 ? 3 : 1;

/**
 * Servers answer with the configuration they took; what they do not know they drop without a word. Throws
 * BUS_UNAVAILABLE naming each field that came back different.
 */
export const checkEcho = (what: string, wanted: object, got: object): void => {
  const echoed = got as Record<string, unknown>;
  const different = Object.entries(wanted)
    .filter(([key, value]) => !isDeepStrictEqual(echoed[key], value))
    .map(([key, value]) => `${key} (asked ${JSON.stringify(value)}, got ${JSON.stringify(echoed[key])})`);
  if (different.length === 0) return;
  throw fleetError("BUS_UNAVAILABLE", `The NATS server made ${what} otherwise than asked: ${different.join(", ")}.`);
};

const found = async <T>(lookup: Promise<T>, notFound: number): Promise<T | undefined> => {
  try {
    return await lookup;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === notFound) return undefined;
    throw error;
  }
};

/** The stream as the catalogue wants it, made or changed where needed. */
export const ensureStream = async (
  manager: JetStreamManager,
  stream: StreamName,
  info: ServerInfo | undefined,
): Promise<void> => {
  const { name, subjects, maxAgeMs, maxBytes } = streams[stream];
  const existing = await found(manager.streams.info(name), streamNotFound);
  const wanted = {
    name,
    subjects: [...subjects],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    max_age: nanos(maxAgeMs),
    max_bytes: maxBytes,
    // How many servers were known when it was made must not change a stream that is there.
    num_replicas: existing?.config.num_replicas ?? replicasFor(info),
  } satisfies Partial<StreamConfig>;
  const made = existing === undefined ? await manager.streams.add(wanted) : await manager.streams.update(name, wanted);
  checkEcho(`the stream ${name}`, wanted, made.config);
};

/** The durable pull consumer of one subject of a stream; one that differs is made anew. */
export const ensureConsumer = async (
  manager: JetStreamManager,
  options: { stream: string; durable: string; filter: string; maxAckPending: number },
): Promise<void> => {
  const { stream, durable, filter, maxAckPending } = options;
  const wanted = {
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: nanos(ackWaitMs),
    filter_subject: filter,
    max_ack_pending: maxAckPending,
  } satisfies Partial<ConsumerConfig>;
  const existing = await found(manager.consumers.info(stream, durable), consumerNotFound);
  if (existing !== undefined) {
    const same = Object.entries(wanted).every(([key, value]) =>
      isDeepStrictEqual((existing.config as unknown as Record<string, unknown>)[key], value),
    );
    if (same) return;
    await manager.consumers.delete(stream, durable);
  }
  const made = await manager.consumers.add(stream, wanted);
  checkEcho(`the consumer ${durable}`, wanted, made.config);
};

/** Deletes a stream that works no more; it is a buffer, and what it held is sent again. */
export const removeStream = async (manager: JetStreamManager, name: string): Promise<void> => {
  await found(manager.streams.delete(name), streamNotFound);
};
