/**
 * Turns a kernel counter that starts at zero with every run into one that only grows: what was counted before a reset
 * stays. The first value counts in full, because it was used before we looked.
 */
export class Accumulator {
  #total = 0;
  #last = 0;

  /** Takes the counter's present value and returns the total. */
  update(value: number): number {
    this.#total += value >= this.#last ? value - this.#last : value;
    this.#last = value;
    return this.#total;
  }

  get total(): number {
    return this.#total;
  }
}
