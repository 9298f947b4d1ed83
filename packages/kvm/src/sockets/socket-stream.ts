import type { Socket } from "node:net";
import { BlockWriter } from "../guest/block-writer.ts";
import type { GuestChannel, StreamListener } from "../guest/channel.ts";
import { frameTypes, payloadMax, windowBytes, type Frame } from "../guest/frames.ts";

/** A connection between a guest's program and one of the host's. Neither side sends more than the other has room for. */
export class SocketStream implements StreamListener {
  readonly #channel: GuestChannel;
  readonly #stream: number;
  readonly #over: () => void;
  /** null before it is open, and once it is closed */
  #socket: Socket | null = null;
  /** what the guest sent, also before it is open, and the socket has not taken */
  readonly #writer = new BlockWriter((bytes) => this.#taken(bytes));
  /** bytes that the guest still takes */
  #window = windowBytes;
  /** the guest's program says no more */
  #ended = false;
  /** the guest is done with the stream */
  #left = false;
  /** the host is */
  #closed = false;

  /**
   * `start` is the frame with which the guest began it, or what the guest is told of one that begins here. `over` is called
   * when both are done with it, or the guest is gone.
   */
  constructor(channel: GuestChannel, start: Frame | Buffer, opening: Promise<Socket>, over: () => void) {
    this.#channel = channel;
    this.#over = over;
    if (Buffer.isBuffer(start)) {
      this.#stream = channel.listen(this);
      channel.send(frameTypes.connect, this.#stream, start);
    } else this.#stream = start.stream;
    opening.then(
      (socket) => this.#begin(socket),
      () => this.#close(),
    );
  }

  #begin(socket: Socket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    // Whoever listens there has ended it already, and nothing tells that again.
    if (socket.destroyed) {
      this.#close();
      return;
    }
    this.#socket = socket;
    socket
      .on("error", () => undefined)
      .on("close", () => this.#close())
      .on("readable", () => this.#pump())
      .on("end", () => this.#tell());
    this.#writer.begin(socket);
  }

  /** Carries on what the guest takes; what stays makes the container wait. */
  #pump(): void {
    const socket = this.#socket;
    for (;;) {
      const size = Math.min(this.#window, payloadMax, socket?.readableLength ?? 0);
      if (size === 0 || this.#left) break;
      const bytes = socket?.read(size) as Buffer | null;
      if (bytes === null) return;
      this.#window -= bytes.length;
      this.#channel.send(frameTypes.input, this.#stream, bytes);
    }
    // The end is told by a read that finds nothing.
    if (socket?.readableLength === 0) socket.read(0);
  }

  #tell(): void {
    if (!this.#left && !this.#closed) this.#channel.send(frameTypes.input, this.#stream);
  }

  #taken(bytes: number): void {
    if (!this.#closed && !this.#left) this.#channel.sendNumber(frameTypes.taken, this.#stream, bytes);
  }

  /** What was written goes out first. A guest that is done hears nothing more of it. */
  #finish(): void {
    const socket = this.#socket;
    if (this.#left) socket?.end(() => socket.destroy());
    else socket?.end();
  }

  frame({ type, payload }: Frame): void {
    switch (type) {
      case frameTypes.output:
        if (payload.length === 0) this.#end();
        else this.#carry(payload);
        return;
      case frameTypes.taken:
        if (payload.length === 4) this.#window = Math.min(windowBytes, this.#window + payload.readUInt32LE(0));
        this.#pump();
        return;
      case frameTypes.close:
        this.#part();
        return;
      default:
        this.#channel.cutOff("the guest says to a socket what belongs to none");
    }
  }

  #carry(bytes: Buffer): void {
    if (this.#closed) return;
    if (this.#ended) this.#channel.cutOff("the guest says more to a socket than it had to say");
    else if (this.#writer.waiting + bytes.length > windowBytes) {
      this.#channel.cutOff("the guest sent more to a socket than that has taken");
    } else this.#writer.write(bytes);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#writer.end(() => this.#finish());
  }

  /** The guest is done. Once: each time somebody more would wait for the end. */
  #part(): void {
    if (this.#left) return;
    this.#left = true;
    this.#ended = true;
    if (this.#closed) this.#leave();
    else this.#writer.end(() => this.#finish());
  }

  /** The host's end is closed, or never was open. */
  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket = null;
    this.#writer.drop();
    if (!this.#channel.closed) this.#channel.send(frameTypes.close, this.#stream);
    if (this.#left) this.#leave();
  }

  #leave(): void {
    this.#channel.leave(this.#stream);
    this.#over();
  }

  /** Ends it whatever is under way. */
  revoke(): void {
    if (this.#socket === null) this.#close();
    else this.#socket.destroy();
  }

  lost(): void {
    this.#left = true;
    this.#closed = true;
    this.#socket?.destroy();
    this.#socket = null;
    this.#writer.drop();
    this.#over();
  }
}
