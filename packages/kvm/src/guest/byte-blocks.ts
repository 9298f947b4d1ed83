/** Of one block, in bytes: small while little waits. */
const blockBytes = { least: 4096, most: 65_536 } as const;
/** What is as large is a block of its own, in bytes: to copy it would cost more than what it may be a small part of. */
const wholeBytes = 16_384;

/**
 * Bytes that wait, in the order in which they came. They are copied together: a guest that sends them one by one would have
 * each of them take as much memory as an object, of which its window counts one byte.
 */
export class ByteBlocks {
  readonly #full: Buffer[] = [];
  #last: Buffer | null = null;
  /** bytes of the last block that are taken up */
  #used = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** `bytes` are ours from now on. */
  add(bytes: Uint8Array): void {
    if (bytes.length >= wholeBytes) {
      if (this.#last !== null) this.#full.push(Buffer.from(this.#last.subarray(0, this.#used)));
      this.#full.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
      this.#last = null;
      this.#length += bytes.length;
      return;
    }
    for (let rest = bytes; rest.length > 0;) {
      if (this.#last === null) {
        const size = Math.max(blockBytes.least, this.#length, rest.length);
        this.#last = Buffer.allocUnsafeSlow(Math.min(blockBytes.most, size));
        this.#used = 0;
      }
      const part = rest.subarray(0, this.#last.length - this.#used);
      this.#last.set(part, this.#used);
      this.#used += part.length;
      this.#length += part.length;
      rest = rest.subarray(part.length);
      if (this.#used < this.#last.length) break;
      this.#full.push(this.#last);
      this.#last = null;
    }
  }

  /** The first of them, at most 64 KiB or what came in one piece; null when there are none. */
  take(): Buffer | null {
    const block = this.#full.shift() ?? this.#last?.subarray(0, this.#used) ?? null;
    if (block === null) return null;
    this.#length -= block.length;
    if (this.#length === 0) this.#last = null;
    return block;
  }

  clear(): void {
    this.#full.length = 0;
    this.#last = null;
    this.#length = 0;
  }
}
