import { fleetError } from "@bulkhead/contracts";
import type { NatsConnection } from "@nats-io/transport-node";
import type { BusLog, Faults } from "./faults.ts";
import { checkServer } from "./server-features.ts";

/** Follows a connection's state: whether it is up, which server it reached, who wants to know of reconnects. */
export class Link {
  readonly #connection: NatsConnection;
  readonly #log: BusLog;
  readonly #faults: Faults;
  readonly #callbacks = new Set<() => void>();
  #connected = true;
  #closing = false;
  #reconnects = 0;
  #serverVersion: string;

  constructor(connection: NatsConnection, log: BusLog, faults: Faults) {
    this.#connection = connection;
    this.#log = log;
    this.#faults = faults;
    this.#serverVersion = connection.info?.version ?? "";
    void this.#follow();
  }

  get connected(): boolean {
    return this.#connected;
  }

  get closing(): boolean {
    return this.#closing;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  get serverVersion(): string {
    return this.#serverVersion;
  }

  /** Most that the server takes as one message, headers included, in bytes. */
  get maxPayloadBytes(): number {
    return this.#connection.info?.max_payload ?? Infinity;
  }

  /** Whether the server says that it has JetStream. */
  get hasJetStream(): boolean {
    return this.#connection.info?.jetstream === true;
  }

  requireConnection(): void {
    if (!this.#connected || this.#closing) {
      throw fleetError("BUS_UNAVAILABLE", "There is no connection to NATS; it is retried until there is one.");
    }
  }

  onReconnect(callback: () => void): { unsubscribe(): void } {
    this.#callbacks.add(callback);
    return { unsubscribe: () => void this.#callbacks.delete(callback) };
  }

  /** Says that the end of the connection is wanted. */
  close(): void {
    this.#closing = true;
  }

  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      switch (status.type) {
        case "disconnect":
          if (this.#connected && !this.#closing) this.#log.warn({ server: status.server }, "bus disconnected");
          this.#connected = false;
          break;
        case "reconnect":
          this.#reconnected(status.server);
          break;
        case "error":
          this.#faults.add("not permitted", "", { err: status.error });
          break;
        case "close":
          this.#connected = false;
          break;
        default:
          this.#log.debug({ status: status.type }, "bus status");
      }
    }
  }

  #reconnected(server: string): void {
    this.#connected = true;
    this.#reconnects += 1;
    const { info } = this.#connection;
    this.#serverVersion = info?.version ?? this.#serverVersion;
    this.#log.info({ server, serverVersion: this.#serverVersion }, "bus connected again");
    try {
      checkServer({ version: this.#serverVersion, headers: info?.headers === true });
    } catch (err) {
      // A cluster's other server may be older: work goes on, someone must act.
      this.#log.error({ err }, "bus server too old");
    }
    for (const callback of this.#callbacks) {
      try {
        callback();
      } catch (err) {
        this.#log.error({ err }, "reconnect callback failed");
      }
    }
  }
}
