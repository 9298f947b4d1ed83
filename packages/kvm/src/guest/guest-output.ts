import { Readable } from "node:stream";
import { ByteBlocks } from "./byte-blocks.ts";

/** What a command inside a machine says, for whoever reads it. */
export class GuestOutput extends Readable {
  readonly #taken: (bytes: number) => void;
  readonly #blocks = new ByteBlocks();
  #wanted = false;
  #over = false;

  /** `taken` is told of what its reader has asked for, or does not want any more, in bytes. */
  constructor(taken: (bytes: number) => void) {
    // One block at a time: what waits here is what the guest has no room for.
    super({ highWaterMark: 1 });
    this.#taken = taken;
  }

  /** Bytes that nobody has asked for yet. */
  get waiting(): number {
    return this.#blocks.length;
  }

  add(bytes: Buffer): void {
    if (this.destroyed) {
      this.#taken(bytes.length);
      return;
    }
    this.#blocks.add(bytes);
    this.#feed();
  }

  /** Nothing comes any more. */
  finish(): void {
    this.#over = true;
    this.#feed();
  }

  #feed(): void {
    if (!this.#wanted) return;
    const block = this.#blocks.take();
    if (block === null && !this.#over) return;
    this.#wanted = false;
    this.push(block);
    if (block !== null) this.#taken(block.length);
  }

  override _read(): void {
    this.#wanted = true;
    this.#feed();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const { length } = this.#blocks;
    this.#blocks.clear();
    if (length > 0) this.#taken(length);
    done(error);
  }
}
