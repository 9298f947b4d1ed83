import { open, realpath } from "node:fs/promises";
import { constants } from "node:fs";
import { join } from "node:path";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { StagedBlob } from "../blobs/staging.ts";
import { type ArchiveParts, normalName } from "./parts.ts";

/** An image layout that lies unpacked in a directory; only regular files inside it are read. */
export class DirectoryParts implements ArchiveParts {
  readonly #directory: string;
  readonly #store: BlobStore;
  readonly #staged = new Map<string, StagedBlob>();

  private constructor(directory: string, store: BlobStore) {
    this.#directory = directory;
    this.#store = store;
  }

  static async open(directory: string, store: BlobStore): Promise<DirectoryParts> {
    return new DirectoryParts(await realpath(directory), store);
  }

  async find(name: string): Promise<StagedBlob | undefined> {
    const normal = normalName(name);
    const known = this.#staged.get(normal);
    if (known !== undefined) return known;
    const path = join(this.#directory, normal);
    // A symbolic link on the way would have led elsewhere.
    if ((await realpath(path).catch(() => undefined)) !== path) return undefined;
    await using handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (!(await handle.stat()).isFile()) return undefined;
    const source = handle.createReadStream({ autoClose: false });
    const staged = await this.#store.stage(source, { what: `"${normal}"` });
    this.#staged.set(normal, staged);
    return staged;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const staged of this.#staged.values()) await staged[Symbol.asyncDispose]();
  }
}
