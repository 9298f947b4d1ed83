import type { Writable } from "node:stream";
import { ByteBlocks } from "./byte-blocks.ts";

/** Writes one thing at a time; what comes meanwhile waits in blocks, so that many small pieces take what they count. */
export class BlockWriter {
  readonly #written: (bytes: number) => void;
  readonly #blocks = new ByteBlocks();
  #to: Writable | null = null;
  #writing = 0;
  #ended: (() => void) | null = null;

  /** `written` is told of what its stream has taken, in bytes. */
  constructor(written: (bytes: number) => void = () => undefined) {
    this.#written = written;
  }

  /** Bytes that the stream has not taken. */
  get waiting(): number {
    return this.#blocks.length + this.#writing;
  }

  /** What waits goes there from now on. */
  begin(to: Writable): void {
    this.#to = to;
    this.#next();
  }

  write(bytes: Uint8Array): void {
    if (this.#to === null || this.#writing > 0) this.#blocks.add(bytes);
    else this.#send(this.#to, bytes);
  }

  /** Calls once everything was taken, or its stream has failed. */
  end(ended: () => void): void {
    this.#ended = ended;
    if (this.#to !== null && this.#writing === 0) this.#next();
  }

  /** What waits goes nowhere. */
  drop(): void {
    this.#to = null;
    this.#ended = null;
    this.#blocks.clear();
  }

  #send(to: Writable, bytes: Uint8Array): void {
    this.#writing = bytes.length;
    to.write(bytes, () => {
      this.#writing = 0;
      this.#next();
      this.#written(bytes.length);
    });
  }

  #next(): void {
    if (this.#to === null) return;
    const block = this.#blocks.take();
    if (block !== null) this.#send(this.#to, block);
    else this.#ended?.();
  }
}
