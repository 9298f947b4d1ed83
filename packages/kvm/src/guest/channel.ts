import type { Socket } from "node:net";
import { fleetError } from "@bulkhead/contracts";
import { settlesWithin } from "@bulkhead/node";
import { BlockWriter } from "./block-writer.ts";
import {
  encodeFrame,
  FrameReader,
  frameTypes,
  guestStreams,
  payloadMax,
  protocolVersion,
  type Frame,
} from "./frames.ts";

/**
 * How long a guest may take to greet, in milliseconds, at each connection: its one thread may be carrying output on a busy
 * host. A host that was cut off in the middle of a frame and is back before the guest noticed is heard only at its next
 * connection, which the guest cannot overlook.
 */
const greetingsMs = [1_000, 2_000, 4_000, 8_000, 15_000];

/**
 * What may wait for a guest to take it, in bytes: the windows of some sixty commands and of all its connections. One that
 * takes nothing is cut off.
 */
const waitingMax = 48 * 2 ** 20;

/** What hears the frames of one stream. */
export interface StreamListener {
  frame(frame: Frame): void;
  /** The guest is gone, or was cut off for what it sent. */
  lost(): void;
}

/** What takes the streams that a guest begins. */
export interface StreamTaker {
  /** Who hears a stream, whose first frame this is. Throws when there is none such. */
  take(channel: GuestChannel, first: Frame): StreamListener;
  /** What it offers to be connected to. Throws when that is no offer. */
  heed(offer: Frame): void;
  lost(): void;
}

/** A connection to the agent inside a machine; several commands share it. It ends with its last user. */
export class GuestChannel {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #writer = new BlockWriter();
  readonly #streams = new Map<number, StreamListener>();
  readonly #greeted = Promise.withResolvers<void>();
  #taker: StreamTaker | null = null;
  #greeting = true;
  #next = 1;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#writer.begin(socket);
    socket.on("data", (bytes) => this.#take(bytes));
    socket.on("error", () => undefined);
    socket.on("close", () => this.#lose());
    // Nothing tells again of one that has ended by now.
    if (socket.destroyed) this.#lose();
  }

  /** Rejects RUNTIME_FAILED when the guest does not answer. */
  static async open(connect: () => Promise<Socket>, waitsMs: readonly number[] = greetingsMs): Promise<GuestChannel> {
    for (const waitMs of waitsMs) {
      const socket = await connect().catch((cause: unknown) => {
        throw fleetError("RUNTIME_FAILED", `the machine takes no connection: ${(cause as Error).message}`, { cause });
      });
      const channel = new GuestChannel(socket);
      if (await channel.#greet(waitMs)) return channel;
      socket.destroy();
    }
    const totalMs = waitsMs.reduce((sum, waitMs) => sum + waitMs, 0);
    throw fleetError("RUNTIME_FAILED", `the guest did not greet within ${totalMs} ms`);
  }

  #greet(waitMs: number): Promise<boolean> {
    const version = Buffer.alloc(4);
    version.writeUInt32LE(protocolVersion);
    this.send(frameTypes.hello, 0, version);
    return settlesWithin(this.#greeted.promise, waitMs);
  }

  /** true once it cannot be used any more */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ends the connection to a guest that does not keep to the protocol; the machine runs on. */
  cutOff(why: string): void {
    this.#greeted.reject(fleetError("RUNTIME_FAILED", why));
    this.#socket.destroy();
  }

  #lose(): void {
    this.#closed = true;
    this.#writer.drop();
    this.#greeted.reject(fleetError("RUNTIME_FAILED", "the machine closed the connection"));
    const listeners = [...this.#streams.values()];
    this.#streams.clear();
    for (const listener of listeners) listener.lost();
    this.#taker?.lost();
  }

  #take(bytes: Buffer): void {
    try {
      for (const frame of this.#reader.take(bytes)) this.#hear(frame);
    } catch (error) {
      this.cutOff((error as Error).message);
    }
  }

  #hear(frame: Frame): void {
    if (frame.type !== frameTypes.hello) {
      const listener = this.#streams.get(frame.stream);
      if (listener !== undefined) listener.frame(frame);
      else if (frame.type === frameTypes.connect) this.#begin(frame);
      else if (frame.type === frameTypes.offered) this.#taker?.heed(frame);
      return;
    }
    // The answer to a connection before this one may come late; one answer for each that a guest sends would have no end.
    if (!this.#greeting) return;
    this.#greeting = false;
    const version = frame.payload.length === 4 ? frame.payload.readUInt32LE(0) : 0;
    if (version === protocolVersion) {
      this.#setClock();
      this.#greeted.resolve();
    } else this.cutOff(`the guest speaks version ${version} of the protocol, this host ${protocolVersion}`);
  }

  #begin(first: Frame): void {
    if (this.#taker === null || first.stream < guestStreams) throw new Error("the guest begins what nobody takes");
    this.#streams.set(first.stream, this.#taker.take(this, first));
  }

  /** Keeps the connection open for streams that the guest begins. */
  serve(taker: StreamTaker): void {
    this.#taker = taker;
    if (this.#closed) taker.lost();
  }

  /** At every connection: a guest that stood still, or is a copy of one that ran earlier, does not know what time it is. */
  #setClock(): void {
    const now = Date.now();
    const payload = Buffer.alloc(12);
    payload.writeBigInt64LE(BigInt(Math.floor(now / 1000)), 0);
    payload.writeUInt32LE((now % 1000) * 1_000_000, 8);
    this.send(frameTypes.clock, 0, payload);
  }

  send(type: number, stream: number, payload?: Uint8Array): void {
    if (payload !== undefined && payload.byteLength > payloadMax) {
      throw fleetError(
        "REQUEST_INVALID",
        `command and environment together are too large (${payload.byteLength} bytes)`,
      );
    }
    if (this.#writer.waiting > waitingMax) this.cutOff("the guest takes nothing");
    else this.#writer.write(encodeFrame(type, stream, payload));
  }

  sendNumber(type: number, stream: number, number: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(number);
    this.send(type, stream, payload);
  }

  /** A stream's number; numbers go round, and those in use are passed over. */
  listen(listener: StreamListener): number {
    while (this.#streams.has(this.#next) || this.#next === 0) this.#next = (this.#next + 1) % guestStreams;
    const stream = this.#next;
    this.#next = (this.#next + 1) % guestStreams;
    this.#streams.set(stream, listener);
    return stream;
  }

  leave(stream: number): void {
    this.#streams.delete(stream);
    this.closeWhenIdle();
  }

  /** Ends the connection when nobody uses it. */
  closeWhenIdle(): void {
    if (this.#streams.size === 0 && this.#taker === null) this.close();
  }

  /** Lets what was sent go out, and ends. */
  close(): void {
    this.#closed = true;
    this.#writer.end(() => this.#socket.end());
  }
}
