import { fleetError } from "@bulkhead/contracts";
import type { StagedBlob } from "../blobs/staging.ts";

/** The files of an archive or directory, by the names they have in it. A name finds content, it never becomes a path. */
export interface ArchiveParts extends AsyncDisposable {
  find(name: string): Promise<StagedBlob | undefined>;
}

const maxNameLength = 4096; // PATH_MAX; names are kept in memory until the archive is read

/** Without `./`, doubled and leading slashes. Throws IMAGE_INVALID for `..` and for names no file can have. */
export const normalName = (name: string): string => {
  if (name.length > maxNameLength) {
    throw fleetError("IMAGE_INVALID", `the archive has a name longer than ${maxNameLength} characters`);
  }
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) {
    throw fleetError("IMAGE_INVALID", `the archive has an entry named "${name.slice(0, 200)}", which leads outside`);
  }
  return parts.join("/");
};

/** A link's target relative to the directory of `from`; undefined when it leads out of the archive. */
export const linkTarget = (from: string, target: string): string | undefined => {
  const parts = target.startsWith("/") ? [] : from.split("/").slice(0, -1);
  for (const part of target.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join("/");
};

/** The whole part as bytes; throws IMAGE_INVALID when it is not there and IMAGE_TOO_LARGE above `maxBytes`. */
export const readPart = async (
  part: StagedBlob | undefined,
  options: { what: string; maxBytes: number },
): Promise<Buffer> => {
  if (part === undefined) throw fleetError("IMAGE_INVALID", `${options.what} is not in the archive`);
  if (part.sizeBytes > options.maxBytes) {
    throw fleetError("IMAGE_TOO_LARGE", `${options.what} has ${part.sizeBytes} bytes, more than ${options.maxBytes}`);
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of part.read()) pieces.push(piece);
  return Buffer.concat(pieces);
};
