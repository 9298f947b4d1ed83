import { Readable } from "node:stream";
import { type Digest, fleetError, isFleetError } from "@bulkhead/contracts";
import { type ImportedImage, imported } from "../archive/imported-image.ts";
import { requireLayerCount, verifyDiffId } from "../archive/candidate.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import { isFull } from "../blobs/disk-full.ts";
import { PartialBlobs } from "../blobs/partial-blobs.ts";
import { Slots } from "../layers/slots.ts";
import { type ImageLimits, defaultLimits } from "../limits.ts";
import { type ParsedConfig, parseConfig } from "../oci/image-config.ts";
import {
  type Descriptor,
  type Manifest,
  kindOfDocument,
  parseIndex,
  parseManifest,
  requireImage,
} from "../oci/manifest.ts";
import { chooseEntry, missing } from "../oci/platform.ts";
import type { ImagePolicy } from "../policy/image-policy.ts";
import { RegistryCredentials } from "../registry/credentials.ts";
import { formatReference, parseReference } from "../registry/reference.ts";
import { RegistrySettings } from "../registry/settings.ts";
import { type RegistryTimes, RepositorySource, defaultRegistryTimes } from "../registry/source.ts";
import { BlobPulls } from "./blob-pulls.ts";
import { KeptFresh } from "./kept-fresh.ts";
import { LayerBoard, type PullProgress } from "./layer-progress.ts";
import { SharedProgress } from "./shared-progress.ts";

export interface ImagePullerOptions {
  readonly root: string;
  readonly blobs: BlobStore;
  /** settings of registries, credentials in the format of Docker's config.json; read anew by each pull */
  readonly settingsFile?: string;
  readonly credentialsFile?: string;
  readonly policy: ImagePolicy;
  readonly limits?: Partial<ImageLimits>;
  readonly times?: RegistryTimes;
  /** a pull that is not done after this long is given up; what has arrived is kept (default one hour, in ms) */
  readonly pullMs?: number;
  /** how often what a pull needs is made young again, in milliseconds (default ten minutes) */
  readonly renewMs?: number;
}

export interface PullRequest {
  readonly reference: string;
  readonly project: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PullProgress) => void;
}

/** Layers of one image fetched at once: enough to hide latency, few enough for a registry's limits. */
const concurrentLayers = 3;
/** Indexes may nest; deeper than this is no honest image. */
const maxDepth = 4;
const minutes = 60_000;
const maxVerified = 100_000;

interface Found {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly manifest: Manifest;
}

/** Brings images from registries into the store. Nothing gets a name before it is verified. */
export class ImagePuller {
  readonly #options: ImagePullerOptions;
  readonly #limits: ImageLimits;
  readonly #partials: PartialBlobs;
  readonly #blobPulls: BlobPulls;
  readonly #shared = new SharedProgress<ImportedImage, PullProgress>();
  /** pairs of blob and diff id known to belong together: a layer that many images share is not unpacked for each */
  readonly #verified = new Set<string>();

  private constructor(options: ImagePullerOptions, partials: PartialBlobs) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#partials = partials;
    this.#blobPulls = new BlobPulls({ blobs: options.blobs, partials });
  }

  static async open(options: ImagePullerOptions): Promise<ImagePuller> {
    return new ImagePuller(options, await PartialBlobs.open(options.root));
  }

  /** Removes parts of blobs that nobody has come back for; resolves to their number. */
  sweep(options: { olderThanMs: number }): Promise<number> {
    return this.#partials.sweep(options);
  }

  /**
   * Fetches the image that a reference means now; concurrent pulls of one project's reference share the work. Rejects
   * REQUEST_INVALID, CONFIG_INVALID, REGISTRY_DENIED, REGISTRY_UNAVAILABLE, IMAGE_UNAVAILABLE, IMAGE_PLATFORM_MISSING,
   * IMAGE_INVALID, IMAGE_DIGEST_MISMATCH, IMAGE_TOO_LARGE, IMAGE_REFUSED, RUNTIME_FAILED when the disk is full.
   */
  async pull({ reference, project, signal, onProgress }: PullRequest): Promise<ImportedImage> {
    const whole = formatReference(parseReference(reference));
    const late = AbortSignal.timeout(this.#options.pullMs ?? 60 * minutes);
    try {
      return await this.#shared.run(
        `${project} ${whole}`,
        { signal: AbortSignal.any([signal, late]), onProgress },
        (shared, report) => this.#pull({ reference: whole, project, signal: shared, onProgress: report }),
      );
    } catch (cause) {
      if (late.aborted && !signal.aborted && !isFleetError(cause)) {
        const detail = `${whole} was not there in time; what has arrived is kept, so pull again`;
        throw fleetError("REGISTRY_UNAVAILABLE", detail, { cause });
      }
      if (isFleetError(cause) || !isFull(cause)) throw cause;
      const detail = "the disk of the image store is full; free space and pull again";
      throw fleetError("RUNTIME_FAILED", detail, { cause });
    }
  }

  async #pull({ reference, project, signal, onProgress }: PullRequest): Promise<ImportedImage> {
    const board = new LayerBoard(onProgress);
    const { settingsFile, credentialsFile, times, policy } = this.#options;
    const parsed = parseReference(reference);
    const settings = settingsFile === undefined ? RegistrySettings.none : await RegistrySettings.read(settingsFile);
    settings.requireAllowed(parsed.registry, project);
    const credentials =
      credentialsFile === undefined ? RegistryCredentials.none : await RegistryCredentials.read(credentialsFile);
    using source = await RepositorySource.open({
      reference: parsed,
      settings,
      credentials,
      times: times ?? defaultRegistryTimes,
    });
    const { resolved, found } = await this.#resolve(source, signal);
    board.step("checking");
    await policy.judge({
      project,
      reference,
      digests: [...new Set([resolved, found.digest])],
      manifest: found.bytes,
      source,
      signal,
    });
    await using fresh = new KeptFresh(this.#options.blobs, this.#options.renewMs ?? 10 * minutes);
    board.show(found.manifest.layers);
    board.step("fetching");
    const config = await this.#config(source, found, signal, fresh);
    await this.#layers({ source, found, config, board, fresh, signal });
    board.step("storing");
    // The manifest last: who finds it finds everything it names.
    await this.#options.blobs.put(found.digest, Readable.from([found.bytes]));
    await fresh.confirm();
    return imported({
      manifest: found.bytes,
      configBlob: found.manifest.config,
      parsed: config,
      layers: found.manifest.layers,
      names: [],
    });
  }

  /** The manifest for our platform, by way of an index or not. */
  async #resolve(source: RepositorySource, signal: AbortSignal): Promise<{ resolved: Digest; found: Found }> {
    const { reference } = source;
    const options = { maxBytes: this.#limits.maxDocumentBytes, signal };
    const first = await source.manifest(reference.digest ?? reference.tag ?? "latest", options);
    const what = formatReference(reference);
    let { bytes, digest } = first;
    for (let depth = 0; kindOfDocument(bytes, what) === "index"; depth += 1) {
      if (depth >= maxDepth)
        throw fleetError("IMAGE_INVALID", `${what}: the index nests deeper than ${maxDepth} levels`);
      const entry = chooseEntry(parseIndex(bytes, what), what);
      ({ bytes, digest } = await source.manifest(entry.digest, options));
    }
    const manifest = parseManifest(bytes, what, this.#limits.maxLayers);
    requireImage(manifest, what);
    const total = manifest.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (total > this.#limits.maxArchiveBytes) {
      throw fleetError("IMAGE_TOO_LARGE", `${what} has ${total} bytes, more than ${this.#limits.maxArchiveBytes}`);
    }
    return { resolved: first.digest, found: { bytes, digest, manifest } };
  }

  async #config(
    source: RepositorySource,
    { manifest }: Found,
    signal: AbortSignal,
    fresh: KeptFresh,
  ): Promise<ParsedConfig> {
    const blob = manifest.config;
    const what = `configuration ${blob.digest} of ${formatReference(source.reference)}`;
    const { maxDocumentBytes } = this.#limits;
    if (blob.sizeBytes > maxDocumentBytes) {
      throw fleetError("IMAGE_TOO_LARGE", `${what} has ${blob.sizeBytes} bytes, more than ${maxDocumentBytes}`);
    }
    if (!(await fresh.keep(blob.digest))) {
      await this.#blobPulls.fetch({
        source,
        blob,
        check: async () => undefined,
        checked: "",
        signal,
        onProgress: () => undefined,
      });
      await fresh.keep(blob.digest);
    }
    const parsed = parseConfig(await this.#options.blobs.read(blob.digest, maxDocumentBytes), what);
    const { os, architecture } = parsed.config;
    if (os !== "linux" || architecture !== "amd64") {
      throw missing(formatReference(source.reference), [`${os}/${architecture}`]);
    }
    requireLayerCount(parsed, manifest.layers, formatReference(source.reference));
    return parsed;
  }

  async #layers(work: {
    source: RepositorySource;
    found: Found;
    config: ParsedConfig;
    board: LayerBoard;
    fresh: KeptFresh;
    signal: AbortSignal;
  }): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([work.signal, stop.signal]);
    const slots = new Slots(concurrentLayers);
    const pending = work.found.manifest.layers.map(async (layer, at) => {
      using _slot = await slots.take(signal);
      await this.#layer(layer, { ...work, diffId: work.config.diffIds[at] ?? layer.digest, signal });
    });
    await Promise.all(pending).catch(async (cause: unknown) => {
      stop.abort(cause);
      await Promise.allSettled(pending);
      throw cause;
    });
  }

  async #layer(
    layer: Descriptor,
    {
      source,
      diffId,
      board,
      fresh,
      signal,
    }: {
      source: RepositorySource;
      diffId: Digest;
      board: LayerBoard;
      fresh: KeptFresh;
      signal: AbortSignal;
    },
  ): Promise<void> {
    const { digest, sizeBytes } = layer;
    const { blobs } = this.#options;
    const pair = `${digest} ${diffId}`;
    if (await fresh.keep(digest)) {
      if (!this.#verified.has(pair)) {
        board.set(digest, { state: "verifying", doneBytes: sizeBytes });
        const { stream } = await blobs.open(digest);
        await verifyDiffId({ digest, read: () => stream }, diffId, this.#limits);
      }
    } else {
      await this.#blobPulls.fetch({
        source,
        blob: layer,
        check: (staged) => verifyDiffId(staged, diffId, this.#limits),
        checked: diffId,
        signal,
        onProgress: ({ state, doneBytes }) => board.set(digest, { state, doneBytes }),
      });
      await fresh.keep(digest);
    }
    // Forgetting costs a decompression, no more.
    if (this.#verified.size >= maxVerified) this.#verified.clear();
    this.#verified.add(pair);
    board.set(digest, { state: "ready", doneBytes: sizeBytes });
  }
}
