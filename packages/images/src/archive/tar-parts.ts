import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fleetError, isFleetError } from "@bulkhead/contracts";
import { extract, type Header } from "tar-stream";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { ByteSource, StagedBlob } from "../blobs/staging.ts";
import { decompress } from "../compression/decompress.ts";
import type { ImageLimits } from "../limits.ts";
import { type ArchiveParts, linkTarget, normalName } from "./parts.ts";

const maxLinks = 8;

/** A tar archive read in one pass: every file is staged, whatever order the archive has. */
export class TarParts implements ArchiveParts {
  readonly #files = new Map<string, StagedBlob>();
  readonly #links = new Map<string, string>();
  readonly #staged: StagedBlob[] = [];

  /** Throws IMAGE_INVALID for what is no tar or cut short, IMAGE_TOO_LARGE above a limit. */
  static async read(source: ByteSource, store: BlobStore, options: { limits: ImageLimits; signal?: AbortSignal }) {
    await using parts = new TarParts();
    // What the source or the decompression failed with says more than the reader that lost them. A connection that
    // broke is not the archive's fault.
    const broken = failureOf(source);
    const packed = decompress(broken.watched, { maxBytes: options.limits.maxArchiveBytes, what: "the archive" });
    const unpacked = failureOf(packed);
    const reader = extract();
    const pumping = pipeline(Readable.from(unpacked.watched, { objectMode: false }), reader);
    // Nobody waits for it on failure: a source that brings nothing would keep it until it is closed.
    pumping.catch(() => undefined);
    const abort = () => reader.destroy(new Error("the import was aborted"));
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      options.signal?.throwIfAborted();
      let entries = 0;
      for await (const entry of reader) {
        if (++entries > options.limits.maxArchiveEntries) {
          throw fleetError("IMAGE_TOO_LARGE", `the archive has more than ${options.limits.maxArchiveEntries} entries`);
        }
        await parts.#take(entry.header, entry as AsyncIterable<Uint8Array>, store, options.signal);
      }
      await pumping;
      if (entries === 0) throw fleetError("IMAGE_INVALID", "the archive is empty");
    } catch (cause) {
      reader.destroy();
      options.signal?.throwIfAborted();
      if (broken.failed()) throw broken.failure();
      const failure = isFleetError(cause) || !unpacked.failed() ? cause : unpacked.failure();
      if (isFleetError(failure) || isSystemError(failure)) throw failure;
      throw fleetError("IMAGE_INVALID", `the archive cannot be read as tar: ${messageOf(failure)}`, { cause: failure });
    } finally {
      options.signal?.removeEventListener("abort", abort);
    }
    return parts.#moved();
  }

  async #take(header: Header, content: ByteSource, store: BlobStore, signal: AbortSignal | undefined): Promise<void> {
    const { type, linkname } = header;
    const name = normalName(header.name);
    if (type === "file" || type === "contiguous-file") {
      const what = `"${name.slice(0, 200)}" of the archive`;
      const staged = await store.stage(content, { what, ...(signal === undefined ? {} : { signal }) });
      this.#staged.push(staged);
      this.#files.set(name, staged);
      this.#links.delete(name);
      return;
    }
    // `docker save` writes a link where two images share a layer.
    if (type === "symlink" || type === "link") {
      const target = linkTarget(type === "link" ? "" : name, linkname ?? "");
      if (target !== undefined) this.#links.set(name, target);
      this.#files.delete(name);
    }
    for await (const ignored of content) void ignored;
  }

  async find(name: string): Promise<StagedBlob | undefined> {
    let at = normalName(name);
    for (let links = 0; links < maxLinks; links += 1) {
      const target = this.#links.get(at);
      if (target === undefined) return this.#files.get(at);
      at = target;
    }
    return undefined;
  }

  /** The same parts, owned by the caller. */
  #moved(): TarParts {
    const moved = new TarParts();
    for (const [name, staged] of this.#files) moved.#files.set(name, staged);
    for (const [name, target] of this.#links) moved.#links.set(name, target);
    moved.#staged.push(...this.#staged.splice(0));
    return moved;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const staged of this.#staged) await staged[Symbol.asyncDispose]();
  }
}

/** The source, and what it failed with if it did. */
const failureOf = (source: ByteSource) => {
  let failed = false;
  let failure: unknown;
  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (cause) {
      failed = true;
      failure = cause;
      throw cause;
    }
  }
  return { watched: watched(), failed: () => failed, failure: () => failure };
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Nor is a full disk. */
const isSystemError = (error: unknown): boolean => error instanceof Error && "syscall" in error;
