import { createHash } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { dirname, join } from "node:path";
import { type Digest, fleetError } from "@bulkhead/contracts";
import { digestOfHex } from "../digest.ts";
import { ownerOf, unfinishedName } from "./owner.ts";

/** Files of another boot or machine may still be written when the directory is shared: they go after a day of silence. */
const foreignAgeMs = 24 * 3_600_000;

export type ByteSource = AsyncIterable<Uint8Array>;

export interface StageOptions {
  /** more bytes than this are IMAGE_TOO_LARGE */
  readonly maxBytes: number;
  /** names the content in errors */
  readonly what: string;
  readonly signal?: AbortSignal;
}

/** Makes a rename or a new file in `directory` survive a power cut. */
export const syncDirectory = async (directory: string): Promise<void> => {
  await using handle = await open(directory, "r");
  await handle.sync();
};

/** Content on disk whose digest is known but which has no name yet. */
export class StagedBlob implements AsyncDisposable {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly path: string;
  readonly #durable: boolean;

  constructor(content: { digest: Digest; sizeBytes: number; path: string; durable: boolean }) {
    this.digest = content.digest;
    this.sizeBytes = content.sizeBytes;
    this.path = content.path;
    this.#durable = content.durable;
  }

  /** Opened with its first byte: a stream that fails before anybody reads it would end the process. */
  async *read(): AsyncGenerator<Uint8Array> {
    yield* createReadStream(this.path) as ByteSource;
  }

  /** Gives it its name. The staged file is gone afterwards. */
  async moveTo(path: string): Promise<void> {
    await rename(this.path, path);
    if (this.#durable) await syncDirectory(dirname(path));
  }

  /** Removes it unless it was moved. */
  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { force: true });
  }
}

/** A directory for content that is not verified yet. Its file names come from this process alone. */
export class Staging {
  readonly #directory: string;
  readonly #durable: boolean;

  private constructor(directory: string, durable: boolean) {
    this.#directory = directory;
    this.#durable = durable;
  }

  /**
   * Removes what ended processes left. `shared`: other machines may write here too. `durable`: what was moved survives
   * a power cut; without it, readers must verify what they find.
   */
  static async open(directory: string, options: { shared: boolean; durable: boolean }): Promise<Staging> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) {
      const owner = ownerOf(name);
      if (owner === "running") continue;
      const path = join(directory, name);
      if (owner === "foreign" && options.shared) {
        const info = await stat(path).catch(() => undefined);
        if (info === undefined || Date.now() - info.mtimeMs < foreignAgeMs) continue;
      }
      await rm(path, { recursive: true, force: true });
    }
    return new Staging(directory, options.durable);
  }

  /** Writes the whole source. Rejects IMAGE_TOO_LARGE, or what the source throws; then nothing is left. */
  async write(source: ByteSource, options: StageOptions): Promise<StagedBlob> {
    const path = join(this.#directory, unfinishedName());
    const hash = createHash("sha256");
    let sizeBytes = 0;
    try {
      await using file = await open(path, "wx", 0o640);
      for await (const chunk of source) {
        options.signal?.throwIfAborted();
        sizeBytes += chunk.byteLength;
        if (sizeBytes > options.maxBytes) {
          throw fleetError("IMAGE_TOO_LARGE", `${options.what} is larger than ${options.maxBytes} bytes`);
        }
        hash.update(chunk);
        for (let at = 0; at < chunk.byteLength;) at += (await file.write(chunk, at)).bytesWritten;
      }
      if (this.#durable) await file.sync();
    } catch (cause) {
      await rm(path, { force: true });
      throw cause;
    }
    return new StagedBlob({ digest: digestOfHex(hash.digest("hex")), sizeBytes, path, durable: this.#durable });
  }
}
