import type { LayerProgress } from "@bulkhead/contracts";
import type { Descriptor } from "../oci/manifest.ts";

/** What a pull does now, and how far its layers are. */
export interface PullProgress {
  readonly step: "resolving" | "checking" | "fetching" | "storing";
  /** lowest first; empty until the manifest is there */
  readonly layers: readonly LayerProgress[];
}

/** Keeps the layers' states and reports each change as a whole. */
export class LayerBoard {
  readonly #layers: Map<string, LayerProgress>;
  readonly #report: (progress: PullProgress) => void;
  #step: PullProgress["step"] = "resolving";

  constructor(report: (progress: PullProgress) => void) {
    this.#layers = new Map();
    this.#report = report;
    this.#tell();
  }

  #tell(): void {
    this.#report({ step: this.#step, layers: [...this.#layers.values()] });
  }

  step(step: PullProgress["step"]): void {
    this.#step = step;
    this.#tell();
  }

  /** A layer used twice is fetched and shown once. */
  show(layers: readonly Descriptor[]): void {
    for (const { digest, sizeBytes } of layers) {
      this.#layers.set(digest, { digest, sizeBytes, doneBytes: 0, state: "waiting" });
    }
    this.#tell();
  }

  set(digest: string, change: Pick<LayerProgress, "state" | "doneBytes">): void {
    const known = this.#layers.get(digest);
    if (known === undefined) return;
    this.#layers.set(digest, { ...known, ...change });
    this.#tell();
  }
}
