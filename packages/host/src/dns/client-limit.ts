/** How many of something each client may have at once. */
export class ClientLimit {
  readonly #max: number;
  readonly #held = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** One more for this client until disposed; null when it has all it may have. */
  take(client: string): Disposable | null {
    const held = this.#held.get(client) ?? 0;
    if (held >= this.#max) return null;
    this.#held.set(client, held + 1);
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        const rest = (this.#held.get(client) ?? 1) - 1;
        // Clients come and go; only those that hold something are remembered.
        if (rest === 0) this.#held.delete(client);
        else this.#held.set(client, rest);
      },
    };
  }
}
