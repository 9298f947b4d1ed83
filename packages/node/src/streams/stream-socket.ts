import {
  channels,
  decodeFrame,
  encodeFrame,
  maximumFrameBytes,
  type Channel,
  type StreamExit,
} from "@bulkhead/contracts";
import { WebSocket, type RawData } from "ws";
import type { Clock, Timer } from "../clock.ts";

/** With more than this waiting to leave, in bytes, the source is not read. */
const highWaterBytes = 256 * 1024;
/**
 * A socket that is not read does not notice that its peer is gone; writing to it does, so a ping goes out this often, in
 * milliseconds. Its answer is not waited for: that would take a slow reader for a vanished one.
 */
const pingMs = 15_000;
const handshakeMs = 10_000;

export type FrameHandler = (channel: Channel, payload: Uint8Array) => Promise<void> | void;

const bytesOf = (data: RawData): Uint8Array => {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
};

/** The agent's end of one byte stream: a WebSocket it opened, with back-pressure both ways. */
export class StreamSocket {
  readonly #socket: WebSocket;
  readonly #closed: Promise<void>;
  #handling: Promise<void> = Promise.resolve();
  #queued = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once("close", () => resolve()));
  }

  /** Connects with the one-time token. Nothing is read before `receive`. Rejects when the other end refuses. */
  static open(target: { url: string; token: string }, clock: Clock): Promise<StreamSocket> {
    const socket = new WebSocket(target.url, {
      headers: { authorization: `Bearer ${target.token}` },
      handshakeTimeout: handshakeMs,
      maxPayload: maximumFrameBytes + 1,
      perMessageDeflate: false,
      followRedirects: false,
    });
    return new Promise((resolve, reject) => {
      const stream = new StreamSocket(socket);
      socket.on("error", reject);
      // TCP's own probes find a machine that vanished without a word.
      socket.once("upgrade", (response) => response.socket.setKeepAlive(true, pingMs));
      socket.once("open", () => {
        socket.pause();
        stream.#ping(clock);
        resolve(stream);
      });
    });
  }

  /** Settles when the stream is over, whoever ended it. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** Hands over frames one by one; nothing more is read while a handler is busy. Frames on unknown channels end the stream. */
  receive(handler: FrameHandler): void {
    this.#socket.on("message", (data: RawData) => {
      const frame = decodeFrame(bytesOf(data));
      if (frame === undefined) {
        this.#socket.close(1003, "unknown channel");
        return;
      }
      this.#queued += 1;
      this.#socket.pause();
      this.#handling = this.#handle(this.#handling, () => handler(frame.channel, frame.payload));
    });
    this.#socket.resume();
  }

  /** Sends in frames of allowed size; resolves when the source may go on. Rejects once the stream is over. */
  async send(channel: Channel, payload: Uint8Array): Promise<void> {
    for (let offset = 0; offset < payload.byteLength; offset += maximumFrameBytes) {
      await this.#sendFrame(channel, payload.subarray(offset, offset + maximumFrameBytes));
    }
  }

  /** Sends the last frame and closes. */
  async finish(exit: StreamExit): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    await this.#sendFrame(channels.exit, Buffer.from(JSON.stringify(exit))).catch(() => undefined);
    // A paused socket would never see the answer to its close frame.
    this.#socket.resume();
    this.#socket.close(1000);
    await this.#closed;
  }

  /** Ends the stream because the agent goes. */
  leave(): void {
    this.#socket.resume();
    this.#socket.close(1001, "agent stops");
  }

  #ping(clock: Clock): void {
    let timer: Timer;
    const again = (): void => {
      timer = clock.after(pingMs, () => {
        this.#socket.ping();
        again();
      });
    };
    again();
    this.#socket.once("close", () => timer.cancel());
  }

  /** One frame after the other: those that were already read when the socket paused wait here. */
  async #handle(previous: Promise<void>, handler: () => Promise<void> | void): Promise<void> {
    await previous;
    try {
      await handler();
    } catch {
      this.#socket.close(1003, "malformed frame");
    }
    this.#queued -= 1;
    if (this.#queued === 0) this.#socket.resume();
  }

  #sendFrame(channel: Channel, payload: Uint8Array): Promise<void> {
    const socket = this.#socket;
    if (socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error("the stream is closed"));
    return new Promise((resolve, reject) => {
      socket.send(encodeFrame(channel, payload), (error) => {
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
      if (socket.bufferedAmount <= highWaterBytes) resolve();
    });
  }
}
