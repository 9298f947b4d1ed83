import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { fleetError, isFleetError } from "@bulkhead/contracts";
import { extract } from "tar-stream";
import type { ByteSource } from "../blobs/staging.ts";
import { decompress } from "../compression/decompress.ts";
import { kernelHeadBytes } from "./kernel-header.ts";
import { assertKernelHead, kernelLayout, type KernelFile, type KernelLayout } from "./kernel-layout.ts";

/** Bytes of a kernel's layer after decompression: Debian's with all its modules has 500 MB. */
const maximumLayerBytes = 4 * 2 ** 30;
const maximumEntries = 100_000;

const plainPath = (name: string): string => name.replace(/^(\.?\/)+/, "").replace(/\/+$/, "");

const headOf = async (content: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of content) {
    if (bytes < kernelHeadBytes) parts.push(part.subarray(0, kernelHeadBytes - bytes));
    bytes += part.length;
  }
  return Buffer.concat(parts);
};

/**
 * The kernel in an image's one layer, read in one pass. Rejects KERNEL_INVALID and KERNEL_TOO_LARGE with what is wrong,
 * and what the source rejects.
 */
export const readKernel = async (layer: ByteSource, signal: AbortSignal): Promise<KernelLayout> => {
  const files: KernelFile[] = [];
  const heads = new Map<string, Buffer>();
  const reader = extract();
  const unpacked = decompress(layer, { maxBytes: maximumLayerBytes, what: "the kernel's layer" });
  const pumping = pipeline(Readable.from(unpacked, { objectMode: false }), reader, { signal });
  pumping.catch(() => undefined);
  try {
    for await (const entry of reader) {
      const path = plainPath(entry.header.name);
      if (entry.header.type === "file") {
        if (files.length >= maximumEntries) throw fleetError("KERNEL_TOO_LARGE", "The image has too many files.");
        files.push({ path, sizeBytes: entry.header.size ?? 0 });
        if (path.startsWith("boot/")) heads.set(path, await headOf(entry as AsyncIterable<Uint8Array>));
      }
      entry.resume();
    }
    await pumping;
  } catch (cause) {
    signal.throwIfAborted();
    if (isFleetError(cause) && cause.code !== "IMAGE_TOO_LARGE") throw cause;
    if (isFleetError(cause)) throw fleetError("KERNEL_TOO_LARGE", cause.message, { cause });
    throw fleetError("KERNEL_INVALID", `The image's layer cannot be read: ${(cause as Error).message}`, { cause });
  } finally {
    reader.destroy();
  }
  const layout = kernelLayout(files);
  assertKernelHead(layout.image, heads.get(layout.image) ?? Buffer.alloc(0));
  return layout;
};
