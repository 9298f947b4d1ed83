import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Digest, type ImageConfig, fleetError, isFleetError } from "@bulkhead/contracts";
import { isFull } from "../blobs/disk-full.ts";
import { type ByteSource, Staging } from "../blobs/staging.ts";
import { decompress } from "../compression/decompress.ts";
import { digestOfHex } from "../digest.ts";
import type { BlobFetcher } from "../fetch/blob-fetcher.ts";
import { type ImageLimits, defaultLimits } from "../limits.ts";
import type { Descriptor } from "../oci/manifest.ts";
import { type Collected, collect } from "./garbage.ts";
import { type ImageRecord, ImageRecords } from "./image-records.ts";
import { LayerDirectories, type ReadyLayer } from "./layer-directories.ts";
import { Mutex } from "./mutex.ts";
import { SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";
import { Unpacker } from "./unpacker.ts";

export interface LayerStoreOptions {
  /** `<host state>/images`; both agents of a host may have it open */
  readonly root: string;
  /** bulkhead-unpack; default: where the native build leaves it */
  readonly unpackerPath?: string;
  readonly limits?: Partial<ImageLimits>;
  /** false: do not wait for the disk; a power cut may then leave a damaged layer (tests) */
  readonly durable?: boolean;
}

export interface EnsuredImage {
  readonly manifestDigest: Digest;
  /** absolute directories, TOPMOST FIRST, each once */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
  readonly volumes: readonly string[];
}

/**
 * How long an image that was made ready is taken to be so, in milliseconds: a start then waits for no file. Its layers'
 * time of last use is renewed after that, so collecting what is older than minutes never meets it.
 */
const warmMs = 20_000;

interface WarmImage {
  readonly image: EnsuredImage;
  readonly untilMs: number;
}

/** Layers fetched and unpacked at once: enough to hide latency, few enough to leave the disk to the instances. */
const concurrentLayers = 3;

async function* hashed(source: ByteSource, update: (chunk: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    update(chunk);
    yield chunk;
  }
}

/** The images a host can run: each layer is unpacked once and shared by every image and instance that has it. */
export class LayerStore {
  readonly #staging: Staging;
  readonly #records: ImageRecords;
  readonly #directories: LayerDirectories;
  readonly #unpacker: Unpacker;
  readonly #limits: ImageLimits;
  readonly #durable: boolean;
  readonly #images = new SharedWork<EnsuredImage>();
  readonly #layers = new SharedWork<ReadyLayer>();
  /** orders "is it there? then it is used" against "is it unused? then it goes" within this process */
  readonly #lock = new Mutex();
  readonly #slots = new Slots(concurrentLayers);
  /** what running `ensureImage` calls rely on: manifests, configurations, diff ids */
  readonly #pins = new Map<Digest, number>();
  readonly #warm = new Map<Digest, WarmImage>();

  private constructor(parts: {
    staging: Staging;
    records: ImageRecords;
    directories: LayerDirectories;
    unpacker: Unpacker;
    limits: ImageLimits;
    durable: boolean;
  }) {
    this.#staging = parts.staging;
    this.#records = parts.records;
    this.#directories = parts.directories;
    this.#unpacker = parts.unpacker;
    this.#limits = parts.limits;
    this.#durable = parts.durable;
  }

  /** Removes what interrupted work left, keeps every whole layer. */
  static async open(options: LayerStoreOptions): Promise<LayerStore> {
    const limits = { ...defaultLimits, ...options.limits };
    const unpacker = new Unpacker(options.unpackerPath);
    // Manifests are verified when they are read and blobs go as soon as they are unpacked: only layers must be durable.
    const staging = await Staging.open(join(options.root, "tmp"), { shared: false, durable: false });
    return new LayerStore({
      staging,
      records: await ImageRecords.open(options.root, staging, limits),
      directories: await LayerDirectories.open(options.root, unpacker),
      unpacker,
      limits,
      durable: options.durable ?? true,
    });
  }

  /**
   * Makes an image ready to run, fetching what is missing; concurrent calls share the work, which stops when all of
   * them are aborted. Every digest is verified before its content is used.
   *
   * Rejects IMAGE_INVALID, IMAGE_DIGEST_MISMATCH, IMAGE_TOO_LARGE, RUNTIME_FAILED (the host's fault), SETUP_FAILED (no
   * unpacker), and what the fetcher rejects.
   */
  async ensureImage(
    manifestDigest: Digest,
    fetcher: BlobFetcher,
    options: { signal?: AbortSignal } = {},
  ): Promise<EnsuredImage> {
    const warm = this.#warm.get(manifestDigest);
    // Whoever else uses this directory may have removed a layer by hand.
    if (warm !== undefined && performance.now() < warm.untilMs && warm.image.layers.every(existsSync))
      return warm.image;
    const signal = options.signal ?? new AbortController().signal;
    try {
      const image = await this.#images.run(manifestDigest, signal, (shared) =>
        this.#ensure(manifestDigest, fetcher, shared),
      );
      this.#warm.set(manifestDigest, { image, untilMs: performance.now() + warmMs });
      return image;
    } catch (cause) {
      if (isFleetError(cause) || !isFull(cause)) throw cause;
      throw fleetError("RUNTIME_FAILED", "the disk of the image store is full; free space on this host", { cause });
    }
  }

  async #ensure(manifestDigest: Digest, fetcher: BlobFetcher, signal: AbortSignal): Promise<EnsuredImage> {
    using _manifest = this.#pin([manifestDigest]);
    const record = await this.#records.obtain(manifestDigest, (digest, kind) => fetcher.fetch(digest, signal, kind));
    using _layers = this.#pin([record.manifest.config.digest, ...record.parsed.diffIds]);
    const image = await this.#assemble(record, fetcher, signal);
    await this.#records.keep(record);
    return image;
  }

  #pin(digests: readonly Digest[]): Disposable {
    for (const digest of digests) this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const digest of digests) {
          const left = (this.#pins.get(digest) ?? 1) - 1;
          if (left === 0) this.#pins.delete(digest);
          else this.#pins.set(digest, left);
        }
      },
    };
  }

  async #assemble(record: ImageRecord, fetcher: BlobFetcher, signal: AbortSignal): Promise<EnsuredImage> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const pending = record.manifest.layers.map((layer, at) => {
      const diffId = record.parsed.diffIds[at] ?? layer.digest;
      // One layer may be compressed in two ways: a fault of one blob is not the other's.
      const key = `${layer.digest} ${diffId}`;
      return this.#layers.run(key, either, (shared) => this.#layer(layer, diffId, { fetcher, signal: shared }));
    });
    const ready = await Promise.all(pending).catch(async (cause: unknown) => {
      // The other layers are of no use now, and what they began is cleaned up before the caller hears of it.
      stop.abort(cause);
      await Promise.allSettled(pending);
      throw cause;
    });
    const topmostFirst = ready.toReversed();
    const opaque = topmostFirst.findIndex(({ opaqueRoot }) => opaqueRoot);
    const visible = opaque < 0 ? topmostFirst : topmostFirst.slice(0, opaque + 1);
    return {
      manifestDigest: record.manifestDigest,
      // overlayfs refuses one directory twice; the lower copy can show nothing that the upper one does not.
      layers: [...new Set(visible.map(({ path }) => path))],
      config: record.parsed.config,
      volumes: record.parsed.volumes,
    };
  }

  async #layer(
    layer: Descriptor,
    diffId: Digest,
    from: { fetcher: BlobFetcher; signal: AbortSignal },
  ): Promise<ReadyLayer> {
    const known = await this.#lock.run(() => this.#directories.use(diffId));
    if (known !== undefined) return known;
    using _slot = await this.#slots.take(from.signal);
    const what = `layer ${layer.digest}`;
    await using blob = await this.#staging.write(await from.fetcher.fetch(layer.digest, from.signal, "blob"), {
      maxBytes: Math.min(layer.sizeBytes, this.#limits.maxArchiveBytes),
      what,
      signal: from.signal,
    });
    if (blob.digest !== layer.digest) {
      throw fleetError("IMAGE_DIGEST_MISMATCH", `${what} arrived with the digest ${blob.digest}`);
    }
    const { work, root } = await this.#directories.begin();
    try {
      const hash = createHash("sha256");
      const tar = decompress(blob.read(), { maxBytes: this.#limits.maxLayerBytes, what });
      const report = await this.#unpacker.apply(
        hashed(tar, (chunk) => hash.update(chunk)),
        root,
        {
          maxBytes: this.#limits.maxLayerBytes,
          maxEntries: this.#limits.maxLayerEntries,
          sync: this.#durable,
          what,
          signal: from.signal,
        },
      );
      const actual = digestOfHex(hash.digest("hex"));
      if (actual !== diffId) {
        throw fleetError("IMAGE_DIGEST_MISMATCH", `${what} unpacks to ${actual}; the configuration says ${diffId}`);
      }
      await this.#directories.publish(work, diffId, report);
    } catch (cause) {
      await this.#directories.discard(work).catch(() => undefined);
      throw cause;
    }
    const made = await this.#lock.run(() => this.#directories.use(diffId));
    if (made === undefined) throw fleetError("RUNTIME_FAILED", `${what} was removed as soon as it was unpacked`);
    return made;
  }

  /**
   * Removes images that are neither in `inUse` nor were ensured within `olderThanMs`, and then every layer that no
   * remaining image has. `inUse` must cover both agents of the host. Safe beside running `ensureImage` calls. Rejects
   * RUNTIME_FAILED, with nothing removed, when an image in use cannot be read.
   */
  collectGarbage(inUse: ReadonlySet<Digest>, options: { olderThanMs: number }): Promise<Collected> {
    this.#warm.clear();
    return collect(
      {
        records: this.#records,
        directories: this.#directories,
        isPinned: (digest) => this.#pins.has(digest),
        lock: this.#lock,
      },
      inUse,
      Date.now() - options.olderThanMs,
    );
  }
}
