import { mkdir, open, opendir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type Digest, fleetError } from "@bulkhead/contracts";
import { digestOf, hexOf, isDigest } from "../digest.ts";
import { unfinishedName } from "./owner.ts";
import { type ByteSource, type StagedBlob, Staging, type StageOptions } from "./staging.ts";

export interface BlobInfo {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** when it was last put or touched */
  readonly modifiedMs: number;
}

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** Content-addressed files: `<root>/blobs/sha256/<hex>`. Several processes and machines may share one root. */
export class BlobStore {
  readonly #directory: string;
  readonly #withdrawn: string;
  readonly #staging: Staging;
  readonly #maxBlobBytes: number;
  readonly #puts = new Map<Digest, Promise<BlobInfo>>();

  private constructor(root: string, staging: Staging, maxBlobBytes: number) {
    this.#directory = join(root, "blobs", "sha256");
    this.#withdrawn = join(root, "tmp");
    this.#staging = staging;
    this.#maxBlobBytes = maxBlobBytes;
  }

  /** Makes the directories and removes what interrupted writes left. */
  static async open(options: { root: string; maxBlobBytes?: number }): Promise<BlobStore> {
    const directory = join(options.root, "blobs", "sha256");
    await mkdir(directory, { recursive: true, mode: 0o750 });
    const staging = await Staging.open(join(options.root, "tmp"), { shared: true, durable: true });
    return new BlobStore(options.root, staging, options.maxBlobBytes ?? 32 * 2 ** 30);
  }

  #path(digest: Digest): string {
    if (!isDigest(digest)) throw fleetError("IMAGE_INVALID", "a digest is not sha256");
    return join(this.#directory, hexOf(digest));
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    try {
      const info = await stat(this.#path(digest));
      return { digest, sizeBytes: info.size, modifiedMs: info.mtimeMs };
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw cause;
    }
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.stat(digest)) !== undefined;
  }

  /** Bytes from `start` on; rejects IMAGE_UNAVAILABLE. The size is the whole blob's. */
  async open(digest: Digest, options: { start?: number } = {}): Promise<{ stream: Readable; sizeBytes: number }> {
    const handle = await open(this.#path(digest), "r").catch((cause: unknown) => {
      if (isMissing(cause)) throw fleetError("IMAGE_UNAVAILABLE", `${digest} is not in the store`, { cause });
      throw cause;
    });
    try {
      const { size } = await handle.stat();
      // The stream owns the handle from here and closes it.
      return { stream: handle.createReadStream({ start: options.start ?? 0 }), sizeBytes: size };
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  /** A whole small blob, verified again: a disk may rot. Rejects IMAGE_UNAVAILABLE, _TOO_LARGE, _DIGEST_MISMATCH. */
  async read(digest: Digest, maxBytes: number): Promise<Buffer> {
    const { stream, sizeBytes } = await this.open(digest);
    if (sizeBytes > maxBytes) {
      stream.destroy();
      throw fleetError("IMAGE_TOO_LARGE", `${digest} has ${sizeBytes} bytes, more than ${maxBytes}`);
    }
    const parts: Buffer[] = [];
    for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
    const bytes = Buffer.concat(parts);
    if (digestOf(bytes) !== digest) throw fleetError("IMAGE_DIGEST_MISMATCH", `the stored ${digest} is damaged`);
    return bytes;
  }

  /** Content whose digest its sender did not name; `commit` it or dispose of it. */
  stage(source: ByteSource, options: Omit<StageOptions, "maxBytes"> & { maxBytes?: number }): Promise<StagedBlob> {
    return this.#staging.write(source, {
      ...options,
      maxBytes: Math.min(options.maxBytes ?? Infinity, this.#maxBlobBytes),
    });
  }

  /** Names staged content. A blob that is there is replaced: equal bytes, and a damaged one heals. */
  async commit(staged: StagedBlob): Promise<BlobInfo> {
    await staged.moveTo(this.#path(staged.digest));
    return { digest: staged.digest, sizeBytes: staged.sizeBytes, modifiedMs: Date.now() };
  }

  /**
   * Stores content that must have this digest, IMAGE_DIGEST_MISMATCH otherwise. Concurrent puts of one digest share the
   * first one's bytes; the others' sources are closed unread, or read when the first failed.
   */
  async put(digest: Digest, source: Readable, options: { signal?: AbortSignal } = {}): Promise<BlobInfo> {
    // A waiting source has no reader yet: its early failure must not be an uncaught error.
    source.on("error", () => undefined);
    for (let running = this.#puts.get(digest); running !== undefined; running = this.#puts.get(digest)) {
      const shared = await running.catch(() => undefined);
      if (shared !== undefined) {
        source.destroy();
        return shared;
      }
    }
    const putting = this.#putAlone(digest, source, options.signal).finally(() => this.#puts.delete(digest));
    this.#puts.set(digest, putting);
    return putting;
  }

  async #putAlone(digest: Digest, source: Readable, signal: AbortSignal | undefined): Promise<BlobInfo> {
    const path = this.#path(digest);
    await using staged = await this.stage(source, { what: digest, ...(signal === undefined ? {} : { signal }) });
    if (staged.digest !== digest) {
      throw fleetError("IMAGE_DIGEST_MISMATCH", `the content sent as ${digest} has the digest ${staged.digest}`);
    }
    await staged.moveTo(path);
    return { digest, sizeBytes: staged.sizeBytes, modifiedMs: Date.now() };
  }

  /** Makes a blob young again, so that no sweep takes it; false when it is not there. */
  async touch(digest: Digest): Promise<boolean> {
    const now = new Date();
    try {
      await utimes(this.#path(digest), now, now);
      return true;
    } catch (cause) {
      if (isMissing(cause)) return false;
      throw cause;
    }
  }

  /**
   * Deletes a blob that was last put or touched before `beforeMs`; false when it stays or was not there. Whoever touches
   * it at the same moment, from any process, keeps it or is told that it is not there.
   */
  async deleteUnused(digest: Digest, beforeMs: number): Promise<boolean> {
    const path = this.#path(digest);
    const aside = join(this.#withdrawn, unfinishedName());
    try {
      await rename(path, aside);
    } catch (cause) {
      if (isMissing(cause)) return false;
      throw cause;
    }
    // Nobody can touch it under this name: what it says now is final.
    if ((await stat(aside)).mtimeMs >= beforeMs) {
      await rename(aside, path);
      return false;
    }
    await rm(aside);
    return true;
  }

  async *list(): AsyncGenerator<BlobInfo> {
    for await (const entry of await opendir(this.#directory)) {
      const digest = `sha256:${entry.name}`;
      const info = isDigest(digest) ? await this.stat(digest) : undefined;
      if (info !== undefined) yield info;
    }
  }
}
