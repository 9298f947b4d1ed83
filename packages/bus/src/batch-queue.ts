/** Items one side brings and the other takes in batches: what came while a batch was handled is the next batch. */
export class BatchQueue<Item> {
  readonly #maxBatch: number;
  #items: Item[] = [];
  #closed = false;
  #arrived = Promise.withResolvers<void>();
  #taken = Promise.withResolvers<void>();

  constructor(maxBatch: number) {
    this.#maxBatch = maxBatch;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: Item): void {
    this.#items.push(item);
    this.#arrived.resolve();
  }

  /** Forgets the oldest item; for a source that cannot be slowed down. */
  dropOldest(): void {
    this.#items.shift();
  }

  /** Resolves when there is room for another item, or none is wanted any more: back-pressure for the source. */
  async room(): Promise<void> {
    while (!this.#closed && this.#items.length >= this.#maxBatch) {
      this.#taken = Promise.withResolvers<void>();
      await this.#taken.promise;
    }
  }

  /** At least one and at most `maxBatch` items in order; undefined when closed. */
  async take(): Promise<Item[] | undefined> {
    while (!this.#closed && this.#items.length === 0) {
      this.#arrived = Promise.withResolvers<void>();
      await this.#arrived.promise;
    }
    if (this.#closed) return undefined;
    const batch = this.#items.slice(0, this.#maxBatch);
    this.#items = this.#items.slice(this.#maxBatch);
    this.#taken.resolve();
    return batch;
  }

  /** Ends both sides; items not taken stay unhandled. */
  close(): void {
    this.#closed = true;
    this.#arrived.resolve();
    this.#taken.resolve();
  }
}
