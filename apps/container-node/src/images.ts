import { HttpBlobFetcher, type LayerStore } from "@bulkhead/images";
import type { Digest } from "@bulkhead/contracts";
import type { ImageSource } from "@bulkhead/namespaces";

export interface ImageSupplyOptions {
  readonly store: LayerStore;
  readonly apiUrl: string;
  readonly token: () => string;
  /** digests that living or unreleased runs use */
  readonly inUse: () => Promise<ReadonlySet<Digest>>;
  readonly keepMs: number;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

/** How often unused images are looked for, in milliseconds. */
const collectEveryMs = 600_000;

/** Images of this host: fetched from the scheduler by digest when first needed, removed when long unused. */
export class ImageSupply implements ImageSource, Disposable {
  readonly #options: ImageSupplyOptions;
  readonly #timer: NodeJS.Timeout;

  constructor(options: ImageSupplyOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#collect(), collectEveryMs);
    this.#timer.unref();
  }

  ensure: ImageSource["ensure"] = ({ imageDigest, project }, signal) => {
    const { store, apiUrl, token } = this.#options;
    return store.ensureImage(imageDigest, new HttpBlobFetcher({ baseUrl: apiUrl, repository: project, token }), {
      signal,
    });
  };

  async #collect(): Promise<void> {
    const { store, inUse, keepMs, log } = this.#options;
    try {
      const collected = await store.collectGarbage(await inUse(), { olderThanMs: keepMs });
      log.info({ ...collected }, "images collected");
    } catch (err) {
      log.warn({ err }, "images not collected");
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
