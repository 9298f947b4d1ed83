import { mkdir, readFile, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type Digest, fleetError } from "@bulkhead/contracts";
import type { Staging } from "../blobs/staging.ts";
import { digestOf, digestOfHex, hexOf } from "../digest.ts";
import type { ImageLimits } from "../limits.ts";
import { type ParsedConfig, parseConfig, requireLinuxAmd64 } from "../oci/image-config.ts";
import { type Manifest, parseManifest } from "../oci/manifest.ts";

export interface ImageRecord {
  readonly manifestDigest: Digest;
  /** the documents themselves, by digest */
  readonly documents: { readonly manifest: Buffer; readonly config: Buffer };
  readonly manifest: Manifest;
  readonly parsed: ParsedConfig;
}

export interface RecordInfo {
  readonly digest: Digest;
  readonly usedMs: number;
}

type Kind = "manifests" | "configs";

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** A host's manifests and configurations, verified whenever they are read. The time of last use is the file's mtime. */
export class ImageRecords {
  readonly #root: string;
  readonly #staging: Staging;
  readonly #limits: ImageLimits;

  private constructor(root: string, staging: Staging, limits: ImageLimits) {
    this.#root = root;
    this.#staging = staging;
    this.#limits = limits;
  }

  static async open(root: string, staging: Staging, limits: ImageLimits): Promise<ImageRecords> {
    for (const kind of ["manifests", "configs"]) await mkdir(join(root, kind), { recursive: true, mode: 0o700 });
    return new ImageRecords(root, staging, limits);
  }

  #path(kind: Kind, digest: Digest): string {
    return join(this.#root, kind, hexOf(digest));
  }

  /** Undefined when it is missing or damaged: either way it has to be fetched. */
  async #read(kind: Kind, digest: Digest): Promise<Buffer | undefined> {
    try {
      const bytes = await readFile(this.#path(kind, digest));
      return digestOf(bytes) === digest ? bytes : undefined;
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw cause;
    }
  }

  /** What is on disk, else what `fetch` answers; the content is checked before it is used or kept. */
  async #obtain(kind: Kind, digest: Digest, fetch: () => Promise<AsyncIterable<Uint8Array>>): Promise<Buffer> {
    const known = await this.#read(kind, digest);
    if (known !== undefined) return known;
    const what = `${kind === "manifests" ? "manifest" : "configuration"} ${digest}`;
    await using staged = await this.#staging.write(await fetch(), { maxBytes: this.#limits.maxDocumentBytes, what });
    if (staged.digest !== digest) {
      throw fleetError("IMAGE_DIGEST_MISMATCH", `${what} arrived with the digest ${staged.digest}`);
    }
    const bytes = await readFile(staged.path);
    await staged.moveTo(this.#path(kind, digest));
    return bytes;
  }

  /** Rejects IMAGE_INVALID, IMAGE_DIGEST_MISMATCH, IMAGE_TOO_LARGE and what `fetch` rejects. */
  async obtain(
    manifestDigest: Digest,
    fetch: (digest: Digest, kind: "manifest" | "blob") => Promise<AsyncIterable<Uint8Array>>,
  ): Promise<ImageRecord> {
    const manifestBytes = await this.#obtain("manifests", manifestDigest, () => fetch(manifestDigest, "manifest"));
    const manifest = parseManifest(manifestBytes, `manifest ${manifestDigest}`, this.#limits.maxLayers);
    const { digest } = manifest.config;
    const what = `configuration ${digest}`;
    const config = await this.#obtain("configs", digest, () => fetch(digest, "blob"));
    const parsed = parseConfig(config, what);
    requireLinuxAmd64(parsed.config, what);
    if (parsed.diffIds.length !== manifest.layers.length) {
      throw fleetError(
        "IMAGE_INVALID",
        `${what} names ${parsed.diffIds.length} layers; the manifest has ${manifest.layers.length}`,
      );
    }
    return { manifestDigest, documents: { manifest: manifestBytes, config }, manifest, parsed };
  }

  /**
   * Marks a record as used now, and writes it again if it was collected meanwhile: without it the collector would not
   * know which layers a running instance needs.
   */
  async keep(record: ImageRecord): Promise<void> {
    await this.#keepOne("manifests", record.manifestDigest, record.documents.manifest);
    await this.#keepOne("configs", record.manifest.config.digest, record.documents.config);
  }

  async #keepOne(kind: Kind, digest: Digest, bytes: Buffer): Promise<void> {
    const now = new Date();
    try {
      await utimes(this.#path(kind, digest), now, now);
    } catch (cause) {
      if (!isMissing(cause)) throw cause;
      await this.#obtain(kind, digest, async () => Readable.from([bytes]));
    }
  }

  /** The record if it is whole on disk. */
  async load(manifestDigest: Digest): Promise<ImageRecord | undefined> {
    const bytes = await this.#read("manifests", manifestDigest);
    if (bytes === undefined) return undefined;
    const manifest = parseManifest(bytes, `manifest ${manifestDigest}`, this.#limits.maxLayers);
    const config = await this.#read("configs", manifest.config.digest);
    if (config === undefined) return undefined;
    const parsed = parseConfig(config, `configuration ${manifest.config.digest}`);
    return { manifestDigest, documents: { manifest: bytes, config }, manifest, parsed };
  }

  async list(kind: Kind): Promise<readonly RecordInfo[]> {
    const found: RecordInfo[] = [];
    for (const name of await readdir(join(this.#root, kind))) {
      const info = await stat(join(this.#root, kind, name)).catch(() => undefined);
      if (info !== undefined) found.push({ digest: digestOfHex(name), usedMs: info.mtimeMs });
    }
    return found;
  }

  /** False when it was used since `usedBeforeMs`, and then it stays. */
  async remove(kind: Kind, digest: Digest, usedBeforeMs: number): Promise<boolean> {
    const info = await stat(this.#path(kind, digest)).catch(() => undefined);
    if (info !== undefined && info.mtimeMs >= usedBeforeMs) return false;
    await rm(this.#path(kind, digest), { force: true });
    return info !== undefined;
  }
}
