import type { Logger } from "@bulkhead/service";
import type { ApiInventory } from "@bulkhead/inventory";
import type { ImageStore } from "./ports.ts";

/** Between sweeps, in milliseconds; unused blobs are kept for an hour anyway. */
const everyMs = 60 * 60 * 1000;

/** Frees the disk of deleted images, now and every hour, until disposed of. A sweep that fails is told and tried again. */
export class BlobSweeper implements AsyncDisposable {
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void>;

  constructor(parts: { readonly images: ImageStore; readonly inventory: ApiInventory; readonly log: Logger }) {
    const { images, inventory, log } = parts;
    const sweep = async (): Promise<void> => {
      try {
        const deleted = await images.collect(await inventory.read.allImageDigests());
        if (deleted > 0) log.info({ deleted }, "unused image blobs deleted");
      } catch (err) {
        log.warn({ err }, "image blobs were not swept");
      }
    };
    this.#running = sweep();
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(sweep);
    }, everyMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
