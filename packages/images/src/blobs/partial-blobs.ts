import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { digestOfHex, hexOf } from "../digest.ts";
import { ownerOf, unfinishedName } from "./owner.ts";
import { type ByteSource, StagedBlob } from "./staging.ts";

/** A partial file of another boot or machine that nobody wrote to for this long has no writer any more, in ms. */
const abandonedMs = 10 * 60_000;

/** The beginning of a blob that is being fetched; one writer at a time has it. */
export class PartialBlob implements AsyncDisposable {
  readonly #path: string;
  readonly #home: string;
  readonly #hash: Hash;
  #sizeBytes: number;
  #keep = true;

  constructor(parts: { path: string; home: string; hash: Hash; sizeBytes: number }) {
    this.#path = parts.path;
    this.#home = parts.home;
    this.#hash = parts.hash;
    this.#sizeBytes = parts.sizeBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Appends the source. What had arrived when it fails stays for the next attempt. */
  async append(source: ByteSource, onBytes: (sizeBytes: number) => void): Promise<void> {
    await using file = await open(this.#path, "a", 0o640);
    for await (const chunk of source) {
      for (let at = 0; at < chunk.byteLength;) {
        const { bytesWritten } = await file.write(chunk, at);
        this.#hash.update(chunk.subarray(at, at + bytesWritten));
        this.#sizeBytes += bytesWritten;
        at += bytesWritten;
      }
      onBytes(this.#sizeBytes);
    }
    await file.sync();
  }

  /** The content with the digest it really has; nothing may be appended afterwards. */
  staged(): StagedBlob {
    const digest = digestOfHex(this.#hash.copy().digest("hex"));
    return new StagedBlob({ digest, sizeBytes: this.#sizeBytes, path: this.#path, durable: true });
  }

  /** It is of no use to anyone. */
  async discard(): Promise<void> {
    this.#keep = false;
    await rm(this.#path, { force: true });
  }

  /** Lets the next writer have it, unless it was moved away or discarded. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#keep) await rename(this.#path, this.#home).catch(() => undefined);
  }
}

/** Blobs that have arrived in part, kept over failures, restarts and crashes, so that no byte is fetched twice. */
export class PartialBlobs {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(root: string): Promise<PartialBlobs> {
    const directory = join(root, "partial");
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new PartialBlobs(directory);
  }

  /** Takes what has arrived of a blob, at most `maxBytes`, or begins it. */
  async claim(digest: Digest, maxBytes: number): Promise<PartialBlob> {
    const home = join(this.#directory, hexOf(digest));
    const path = `${home}.${unfinishedName()}`;
    for (const name of await this.#free(hexOf(digest))) {
      // Another process may be quicker.
      const taken = await rename(join(this.#directory, name), path).then(
        () => true,
        () => false,
      );
      if (taken) break;
    }
    const hash = createHash("sha256");
    const known = await stat(path).catch(() => undefined);
    let sizeBytes = 0;
    if (known !== undefined && known.size > maxBytes) await rm(path);
    else if (known !== undefined) {
      for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
        hash.update(chunk);
        sizeBytes += chunk.byteLength;
      }
    }
    // An empty blob has a file too.
    await (await open(path, "a", 0o640)).close();
    return new PartialBlob({ path, home, hash, sizeBytes });
  }

  /** Names of partial files of this blob that nobody writes to. */
  async #free(hex: string): Promise<readonly string[]> {
    const free: string[] = [];
    for (const name of await readdir(this.#directory)) {
      if (name === hex) free.unshift(name);
      else if (name.startsWith(`${hex}.`) && (await this.#isAbandoned(name))) free.push(name);
    }
    return free;
  }

  async #isAbandoned(name: string): Promise<boolean> {
    const owner = ownerOf(name.slice(name.indexOf(".") + 1));
    if (owner !== "foreign") return owner === "dead";
    const info = await stat(join(this.#directory, name)).catch(() => undefined);
    return info !== undefined && Date.now() - info.mtimeMs > abandonedMs;
  }

  /** Removes what nobody has come back for; resolves to the number. */
  async sweep(options: { olderThanMs: number }): Promise<number> {
    let removed = 0;
    for (const name of await readdir(this.#directory)) {
      if (name.includes(".") && !(await this.#isAbandoned(name))) continue;
      const path = join(this.#directory, name);
      const info = await stat(path).catch(() => undefined);
      if (info === undefined || Date.now() - info.mtimeMs < options.olderThanMs) continue;
      await rm(path, { force: true });
      removed += 1;
    }
    return removed;
  }
}
