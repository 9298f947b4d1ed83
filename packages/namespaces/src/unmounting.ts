import type { InstanceId } from "@bulkhead/contracts";

/**
 * Instances whose last run is over and released, but whose writable layer is still being unmounted. The kernel writes
 * the whole file system below to disk for that (ovl_sync_fs), which takes as long as the disk does; only another run of
 * the same instance has to wait for it, because no two may have one writable layer.
 */
export class Unmounting {
  readonly #going = new Map<InstanceId, Promise<void>>();

  /** `gone` never rejects. */
  add(instanceId: InstanceId, gone: Promise<void>): void {
    const all = this.#both(this.#going.get(instanceId), gone).finally(() => {
      if (this.#going.get(instanceId) === all) this.#going.delete(instanceId);
    });
    this.#going.set(instanceId, all);
  }

  async #both(before: Promise<void> | undefined, gone: Promise<void>): Promise<void> {
    await before;
    await gone;
  }

  /** Resolves when nobody holds the instance's writable layer. */
  async of(instanceId: InstanceId): Promise<void> {
    await this.#going.get(instanceId);
  }

  /** Resolves when nobody holds any of which this knew when it was asked. */
  async all(): Promise<void> {
    await Promise.all(this.#going.values());
  }
}
