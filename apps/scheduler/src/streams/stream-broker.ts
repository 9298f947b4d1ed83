import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { fleetError } from "@bulkhead/contracts";
import type { WebSocket } from "ws";

/** A token is good for this long, in milliseconds: the agent connects at once or not at all. */
const tokenMs = 10_000;

const hash = (token: string): Buffer => createHash("sha256").update(token).digest();

interface Pending {
  readonly tokenHash: Buffer;
  readonly arrived: (socket: WebSocket) => void;
  readonly giveUp: (why: string) => void;
}

/** A stream that an agent has been or will be asked to open. */
export interface ExpectedStream {
  readonly streamId: string;
  /** where the agent connects, and with what */
  readonly url: string;
  readonly token: string;
  /** the agent's end; rejects HOST_UNREACHABLE when it does not come in time */
  readonly agent: Promise<WebSocket>;
  /** Ends the expectation; a socket that came is closed. */
  abandon(): void;
}

export interface BrokerOptions {
  /** `ws://` address of this scheduler as hosts reach it */
  readonly url: string;
  /** streams at once, waiting ones included */
  readonly maximum: number;
}

/** Brings the two ends of byte streams together: it gives out one-time tokens and takes the agents' sockets. */
export class StreamBroker {
  readonly #options: BrokerOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #sockets = new Set<WebSocket>();
  #reserved = 0;
  #closed = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
  }

  /** Streams waiting or open. */
  get size(): number {
    return this.#reserved;
  }

  /** Expects an agent. Throws OVERLOADED when too many streams are open, or while the service stops. */
  expect(): ExpectedStream {
    const { maximum, url } = this.#options;
    if (this.#closed || this.#reserved >= maximum) {
      const why = this.#closed ? "The service is stopping." : `${maximum} streams are open, which is the limit.`;
      throw fleetError("OVERLOADED", why, { fields: { retryAfterMs: 1_000 } });
    }
    this.#reserved += 1;
    const streamId = randomUUID();
    const token = randomBytes(32).toString("base64url");
    const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
    // Who asked may have gone by then.
    promise.catch(() => undefined);
    let over = false;
    const free = () => {
      clearTimeout(timer);
      this.#pending.delete(streamId);
      if (!over) this.#reserved -= 1;
      over = true;
    };
    const giveUp = (why: string) => {
      free();
      reject(fleetError("HOST_UNREACHABLE", why));
    };
    const timer = setTimeout(() => giveUp(`The host's agent did not open the stream within ${tokenMs} ms.`), tokenMs);
    const arrived = (socket: WebSocket) => {
      // Given up between the token's check and the end of the handshake.
      if (over) return socket.terminate();
      clearTimeout(timer);
      this.#sockets.add(socket);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        free();
      });
      resolve(socket);
    };
    this.#pending.set(streamId, { tokenHash: hash(token), arrived, giveUp });
    return {
      streamId,
      url: `${url}/internal/streams/${streamId}`,
      token,
      agent: promise,
      abandon: () => {
        this.#pending.get(streamId)?.giveUp("The stream was given up.");
        promise.then((socket) => socket.terminate()).catch(() => undefined);
      },
    };
  }

  /**
   * Takes the token of a stream, once. Returns what to call with the agent's socket. Throws UNAUTHENTICATED for anything
   * but a token that was given out for this stream and not used.
   */
  redeem(streamId: string, token: string): (socket: WebSocket) => void {
    const pending = this.#pending.get(streamId);
    if (pending === undefined || !timingSafeEqual(pending.tokenHash, hash(token))) {
      throw fleetError("UNAUTHENTICATED", "This stream is not expected, or its token was used.");
    }
    this.#pending.delete(streamId);
    return pending.arrived;
  }

  /** Ends all streams; the processes at their other ends see their client go. */
  close(): void {
    this.#closed = true;
    for (const { giveUp } of this.#pending.values()) giveUp("The service is stopping.");
    for (const socket of this.#sockets) socket.terminate();
  }
}
