import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fleetError } from "@bulkhead/contracts";
import { connect, errors, jwtAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { Bus } from "./bus.ts";
import { Faults, type BusLog } from "./faults.ts";
import { Link } from "./link.ts";
import { inboxPrefix } from "./roles.ts";
import { checkServer } from "./server-features.ts";

export interface ConnectOptions {
  /** one or several servers, separated by commas */
  readonly url: string;
  /** of this client, shown by the server: "scheduler" */
  readonly name: string;
  /** user JWT; without it the server must take anyone (tests, some external servers) */
  readonly jwt?: string;
  /** the user's nkey seed */
  readonly seed?: string;
  /** prefix of reply subjects the credential may subscribe to (default `_INBOX_<name>`) */
  readonly inboxPrefix?: string;
  readonly log: BusLog;
  /** how long to try for the first connection, in milliseconds (default 10,000) */
  readonly connectMs?: number;
  /** gives up trying */
  readonly signal?: AbortSignal;
}

/** One attempt, and between pings; two unanswered ones end a connection. In milliseconds. */
const attemptMs = 5_000;
const pingMs = 10_000;

/** Spread, so that a restarted server is not met by the whole fleet at once: 0.25 to 2 s, in milliseconds. */
const reconnectDelay = (): number => 250 + Math.random() * 1_750;

const firstConnection = async (options: ConnectOptions): Promise<NatsConnection> => {
  const { url, name, jwt, seed, connectMs = 10_000, signal } = options;
  const end = performance.now() + connectMs;
  for (;;) {
    try {
      return await connect({
        servers: url.split(","),
        name,
        inboxPrefix: options.inboxPrefix ?? inboxPrefix(name),
        ...(jwt === undefined ? {} : { authenticator: jwtAuthenticator(jwt, new TextEncoder().encode(seed ?? "")) }),
        timeout: attemptMs,
        reconnect: true,
        maxReconnectAttempts: -1,
        reconnectDelayHandler: reconnectDelay,
        // A server that starts anew may refuse us until it has its keys; a credential does not become wrong.
        ignoreAuthErrorAbort: true,
        pingInterval: pingMs,
        maxPingOut: 2,
      });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      if (cause instanceof errors.AuthorizationError || cause instanceof errors.UserAuthenticationExpiredError) {
        throw fleetError("BUS_UNAVAILABLE", `NATS at ${url} refused the credential of ${name}: ${why}.`, { cause });
      }
      if (signal?.aborted === true || performance.now() > end) {
        throw fleetError("BUS_UNAVAILABLE", `NATS at ${url} is not reachable: ${why}.`, { cause });
      }
    }
    await delay(Math.min(reconnectDelay(), Math.max(0, end - performance.now())), undefined, { signal }).catch(
      () => undefined,
    );
  }
};

/**
 * Connects and checks the server's version. Later losses of the connection heal by themselves, for ever. Throws
 * BUS_UNAVAILABLE when the server is not reachable in time, refuses the credential or lacks a feature in use.
 */
export const connectBus = async (options: ConnectOptions): Promise<Bus> => {
  const { log } = options;
  const connection = await firstConnection(options);
  try {
    const version = connection.info?.version ?? "0";
    checkServer({ version, headers: connection.info?.headers === true });
    log.info({ server: connection.getServer(), serverVersion: version }, "bus connected");
  } catch (error) {
    await connection.close();
    throw error;
  }
  const faults = new Faults(log);
  return new Bus({ connection, link: new Link(connection, log, faults), faults, log });
};

/** A credential kept in two files, as createControlKeys() writes it. */
export const readCredential = async (files: {
  jwtFile: string;
  seedFile: string;
}): Promise<{ jwt: string; seed: string }> => {
  const [jwt, seed] = await Promise.all([readFile(files.jwtFile, "utf8"), readFile(files.seedFile, "utf8")]);
  return { jwt: jwt.trim(), seed: seed.trim() };
};
