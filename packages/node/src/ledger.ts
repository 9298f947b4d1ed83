import { compareEpochs, fleetError, type Epoch, type InstanceId } from "@bulkhead/contracts";
import type { InstanceMemory } from "@bulkhead/lifecycle";
import type { Clock } from "./clock.ts";
import { Flusher } from "./flusher.ts";
import { RecordFile } from "./record-file.ts";
import type { Storage } from "./storage.ts";

interface Entry {
  readonly instanceId: InstanceId;
  readonly memory: InstanceMemory;
}

/** Ended instances whose highest epoch is still remembered; the document's version guards older ones. */
const goneKept = 10_000;
/** The file is rewritten when it has this many records and four times as many as instances. */
const rewriteAt = 1_000;

/**
 * The agent's memory of instances across its own restarts: highest epoch, attempts, back-off. One small durable append
 * before each start is what makes an old order, or a second start of the same attempt, impossible.
 */
export class Ledger {
  readonly #file: RecordFile;
  readonly #flusher: Flusher;
  readonly #entries = new Map<InstanceId, InstanceMemory>();
  readonly #dirty = new Set<InstanceId>();
  #gone = 0;

  private constructor(file: RecordFile, values: readonly unknown[], clock: Clock) {
    this.#file = file;
    for (const { instanceId, memory } of values as readonly Entry[]) this.#remember(instanceId, memory);
    this.#flusher = new Flusher(() => this.#flush(), clock);
  }

  /** Torn or damaged lines are left out and counted; what they said is found again from the runtime. */
  static async open(options: {
    storage: Storage;
    name: string;
    clock: Clock;
  }): Promise<{ ledger: Ledger; damaged: number }> {
    const { file, values, damaged } = await RecordFile.open(options.storage, options.name);
    return { ledger: new Ledger(file, values, options.clock), damaged };
  }

  get problem(): string | null {
    return this.#flusher.problem;
  }

  get(instanceId: InstanceId): InstanceMemory | null {
    return this.#entries.get(instanceId) ?? null;
  }

  /** Newest era that any assignment seen here belonged to; 0 when there was none. */
  get highestEra(): number {
    let highest = 0;
    for (const { epoch } of this.#entries.values()) highest = Math.max(highest, epoch.era);
    return highest;
  }

  /**
   * Remembers at once, and resolves when that is durable. Rejects when the disk refuses; it is tried again by itself.
   * Throws STATE_CONFLICT for an epoch older than the highest seen.
   */
  put(instanceId: InstanceId, memory: InstanceMemory): Promise<void> {
    const known = this.#entries.get(instanceId);
    if (known !== undefined && compareEpochs(memory.epoch, known.epoch) < 0) {
      throw fleetError(
        "STATE_CONFLICT",
        `epoch ${text(memory.epoch)} is older than ${text(known.epoch)}, which was seen`,
      );
    }
    this.#remember(instanceId, memory);
    this.#dirty.add(instanceId);
    return this.#flusher.request();
  }

  async close(): Promise<void> {
    await this.#flusher.close();
    await this.#file.close();
  }

  #remember(instanceId: InstanceId, memory: InstanceMemory): void {
    if (this.#entries.get(instanceId)?.phase === "gone") this.#gone -= 1;
    if (memory.phase === "gone") this.#gone += 1;
    // Deleted first so that the map stays in order of the newest change, and the oldest ends are forgotten first.
    this.#entries.delete(instanceId);
    this.#entries.set(instanceId, memory);
    if (this.#gone <= goneKept) return;
    for (const [oldest, { phase }] of this.#entries) {
      if (phase !== "gone") continue;
      this.#entries.delete(oldest);
      this.#gone -= 1;
      return;
    }
  }

  async #flush(): Promise<void> {
    const ids = [...this.#dirty];
    if (ids.length === 0 && !this.#file.damaged) return;
    this.#dirty.clear();
    try {
      const stale = this.#file.records + ids.length > Math.max(rewriteAt, 4 * this.#entries.size);
      if (stale || this.#file.damaged) await this.#file.rewrite(this.#of(this.#entries.keys()));
      else await this.#file.append(this.#of(ids));
    } catch (error) {
      for (const id of ids) this.#dirty.add(id);
      throw error;
    }
  }

  #of(ids: Iterable<InstanceId>): Entry[] {
    return [...ids].flatMap((instanceId) => {
      const memory = this.#entries.get(instanceId);
      return memory === undefined ? [] : [{ instanceId, memory }];
    });
  }
}

const text = ({ era, n }: Epoch): string => `${era}.${n}`;
