import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { createServer, type Server, type Socket as Stream } from "node:net";
import { ClientLimit } from "./client-limit.ts";
import type { Forwarder } from "./forward.ts";
import { answerMessage, responseCodes } from "./message.ts";
import { decide, type NetworkZone } from "./names.ts";

const port = 53;
/** Streams open at once, of all and of one client, and how long one may be idle, in milliseconds. */
const streamsMax = 64;
const streamsOfClientMax = 8;
/** Questions of one client that wait for the host's own resolvers; each has a socket of this process. */
const forwardsOfClientMax = 32;
const idleMs = 5_000;

export interface ListenerOptions {
  /** the network's gateway, which the bridge has */
  readonly address: string;
  readonly zone: () => NetworkZone;
  readonly forward: Forwarder | null;
}

/** Answers questions at one address, by UDP and TCP. */
export class NameListener {
  readonly #options: ListenerOptions;
  readonly #datagrams: Socket;
  readonly #streams: Server;
  readonly #streamsOf = new ClientLimit(streamsOfClientMax);
  readonly #forwardsOf = new ClientLimit(forwardsOfClientMax);

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#datagrams = createSocket(options.address.includes(":") ? "udp6" : "udp4");
    this.#streams = createServer({ allowHalfOpen: false });
    this.#streams.maxConnections = streamsMax;
  }

  /** Rejects what bind(2) says; EADDRINUSE when the host's other agent answers there already. */
  static async open(options: ListenerOptions): Promise<NameListener> {
    const listener = new NameListener(options);
    try {
      await listener.#bind();
      return listener;
    } catch (error) {
      listener.close();
      throw error;
    }
  }

  async #bind(): Promise<void> {
    const { address } = this.#options;
    const datagrams = Promise.withResolvers<void>();
    this.#datagrams.once("error", datagrams.reject).bind({ address, port }, datagrams.resolve);
    await datagrams.promise;
    // An answer to somebody who is gone is nobody's problem.
    this.#datagrams.removeAllListeners("error").on("error", () => undefined);
    this.#datagrams.on("message", (message, from) => {
      void this.#answerDatagram(message, from);
    });
    const streams = Promise.withResolvers<void>();
    this.#streams.once("error", streams.reject).listen({ host: address, port }, streams.resolve);
    await streams.promise;
    this.#streams.removeAllListeners("error").on("error", () => undefined);
    this.#streams.on("connection", (stream) => {
      const held = this.#streamsOf.take(stream.remoteAddress ?? "");
      if (held === null) {
        stream.destroy();
        return;
      }
      stream.on("close", () => held[Symbol.dispose]());
      let received = Buffer.alloc(0);
      stream.setTimeout(idleMs, () => stream.destroy());
      stream.on("error", () => undefined);
      stream.on("data", (chunk) => {
        received = Buffer.concat([received, chunk]);
        while (received.length >= 2 && received.length >= received.readUInt16BE(0) + 2) {
          const size = received.readUInt16BE(0);
          const message = received.subarray(2, size + 2);
          received = received.subarray(size + 2);
          void this.#answerStream(message, stream);
        }
      });
    });
  }

  async #answerDatagram(message: Buffer, from: RemoteInfo): Promise<void> {
    const answer = await this.#answer(message, from.address, true);
    if (answer !== null) this.#datagrams.send(answer, from.port, from.address, () => undefined);
  }

  async #answerStream(message: Buffer, stream: Stream): Promise<void> {
    const answer = await this.#answer(message, stream.remoteAddress ?? "", false);
    if (answer === null) {
      stream.destroy();
      return;
    }
    const length = Buffer.alloc(2);
    length.writeUInt16BE(answer.length);
    stream.write(Buffer.concat([length, answer]));
  }

  async #answer(message: Buffer, from: string, datagram: boolean): Promise<Buffer | null> {
    const { forward } = this.#options;
    const zone = this.#options.zone();
    if (!zone.mayAsk(from)) return null;
    const outcome = decide(zone, message, datagram);
    if (outcome === null || "answer" in outcome) return outcome?.answer ?? null;
    using held = forward === null ? null : this.#forwardsOf.take(from);
    const answer = forward === null || held === null ? null : await forward(message, datagram);
    const code = forward === null ? responseCodes.noSuchName : responseCodes.serverFailure;
    return answer ?? answerMessage(outcome.forward, code, { datagram });
  }

  close(): void {
    // Closing what never was bound throws; there is nothing to close then.
    try {
      this.#datagrams.close();
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ERR_SOCKET_DGRAM_NOT_RUNNING")) throw error;
    }
    this.#streams.close();
  }
}
