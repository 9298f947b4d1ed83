import { mkdir, readFile, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type Digest, fleetError } from "@bulkhead/contracts";
import type { StagedBlob, Staging } from "../blobs/staging.ts";
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

  /** Checks what `fetch` answers before anyone sees it. */
  async #fetched(digest: Digest, what: string, source: AsyncIterable<Uint8Array>): Promise<StagedBlob> {
    const staged = await this.#staging.write(source, { maxBytes: this.#limits.maxDocumentBytes, what });
    if (staged.digest === digest) return staged;
    await staged[Symbol.asyncDispose]();
    throw fleetError("IMAGE_DIGEST_MISMATCH", `${what} arrived with the digest ${staged.digest}`);
  }

  async #save(kind: Kind, digest: Digest, bytes: Buffer): Promise<void> {
    await using staged = await this.#fetched(digest, digest, Readable.from([bytes]));
    await staged.moveTo(this.#path(kind, digest));
  }

  /** What is on disk, else what `fetch` answers, not yet saved. */
  async #bytes(
    kind: Kind,
    digest: Digest,
    from: { what: string; fetch: () => Promise<AsyncIterable<Uint8Array>> },
  ): Promise<{ bytes: Buffer; fresh: boolean }> {
    const known = await this.#read(kind, digest);
    if (known !== undefined) return { bytes: known, fresh: false };
    await using staged = await this.#fetched(digest, from.what, await from.fetch());
    return { bytes: await readFile(staged.path), fresh: true };
  }

  /** Rejects IMAGE_INVALID, IMAGE_DIGEST_MISMATCH, IMAGE_TOO_LARGE and what `fetch` rejects. */
  async obtain(
    manifestDigest: Digest,
    fetch: (digest: Digest, kind: "manifest" | "blob") => Promise<AsyncIterable<Uint8Array>>,
  ): Promise<ImageRecord> {
    const which = `manifest ${manifestDigest}`;
    const own = await this.#bytes("manifests", manifestDigest, {
      what: which,
      fetch: () => fetch(manifestDigest, "manifest"),
    });
    const manifest = parseManifest(own.bytes, which, this.#limits.maxLayers);
    const { digest } = manifest.config;
    const what = `configuration ${digest}`;
    const config = await this.#bytes("configs", digest, { what, fetch: () => fetch(digest, "blob") });
    const parsed = parseConfig(config.bytes, what);
    requireLinuxAmd64(parsed.config, what);
    if (parsed.diffIds.length !== manifest.layers.length) {
      throw fleetError(
        "IMAGE_INVALID",
        `${what} names ${parsed.diffIds.length} layers; the manifest has ${manifest.layers.length}`,
      );
    }
    // The manifest last: who finds it finds its configuration.
    if (config.fresh) await this.#save("configs", digest, config.bytes);
    if (own.fresh) await this.#save("manifests", manifestDigest, own.bytes);
    return { manifestDigest, documents: { manifest: own.bytes, config: config.bytes }, manifest, parsed };
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
      await this.#save(kind, digest, bytes);
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
