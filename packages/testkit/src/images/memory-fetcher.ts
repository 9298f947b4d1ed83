import { Readable } from "node:stream";
import { type BlobFetcher, digestOf } from "@bulkhead/images";
import type { Digest } from "@bulkhead/contracts";
import type { LayoutBytes } from "./layout-bytes.ts";

/** Serves blobs from memory and remembers what was asked for; what it does not have arrives as other bytes. */
export class MemoryFetcher implements BlobFetcher {
  readonly asked: Digest[] = [];
  readonly blobs = new Map<string, Buffer>();

  add({ manifest, config, layers }: LayoutBytes): this {
    for (const bytes of [manifest, config, ...layers]) this.blobs.set(digestOf(bytes), bytes);
    return this;
  }

  async fetch(digest: Digest): Promise<Readable> {
    this.asked.push(digest);
    return Readable.from([this.blobs.get(digest) ?? Buffer.from("nothing of that name")]);
  }
}
