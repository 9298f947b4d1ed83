/** One moment of an instance: totals are monotonic, rates are made from two of them. */
export interface UsagePoint {
  /** Unix time in milliseconds when the sample arrived here */
  readonly atMs: number;
  readonly cpuNs: number;
  readonly throttledNs: number;
  readonly memoryBytes: number;
  readonly pids: number;
  readonly ioReadBytes: number;
  readonly ioWriteBytes: number;
}

const fields = ["atMs", "cpuNs", "throttledNs", "memoryBytes", "pids", "ioReadBytes", "ioWriteBytes"] as const;

/** How far back the window reaches, in milliseconds. */
export const windowMs = 10 * 60_000;

/** Points of a window that is full at the agents' pace of one in five seconds, and somewhat more. */
const maxPoints = 128;

/** The last ten minutes of one instance in a ring of numbers that grows to 7 KiB and no further. */
export class UsageWindow {
  #ring = new Float64Array(8 * fields.length);
  #start = 0;
  #length = 0;

  push(point: UsagePoint): void {
    const capacity = this.#ring.length / fields.length;
    if (this.#length === capacity) {
      if (capacity < maxPoints) this.#grow();
      else {
        this.#start = (this.#start + 1) % capacity;
        this.#length -= 1;
      }
    }
    const slot = (this.#start + this.#length) % (this.#ring.length / fields.length);
    for (const [index, field] of fields.entries()) this.#ring[slot * fields.length + index] = point[field];
    this.#length += 1;
  }

  /** Points not older than the window, oldest first. */
  points(nowMs: number): UsagePoint[] {
    return Array.from({ length: this.#length }, (_value, index) => this.#at(index)).filter(
      ({ atMs }) => nowMs - atMs <= windowMs,
    );
  }

  #at(index: number): UsagePoint {
    const slot = (this.#start + index) % (this.#ring.length / fields.length);
    const value = (offset: number): number => this.#ring[slot * fields.length + offset] ?? 0;
    return {
      atMs: value(0),
      cpuNs: value(1),
      throttledNs: value(2),
      memoryBytes: value(3),
      pids: value(4),
      ioReadBytes: value(5),
      ioWriteBytes: value(6),
    };
  }

  /** Only ever called when full, so the ring is laid out straight again by the copy. */
  #grow(): void {
    const points = Array.from({ length: this.#length }, (_value, index) => this.#at(index));
    this.#ring = new Float64Array(Math.min(2 * points.length, maxPoints) * fields.length);
    this.#start = 0;
    this.#length = 0;
    for (const point of points) this.push(point);
  }
}
