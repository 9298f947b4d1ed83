import { constants, closeSync, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { fleetError } from "@bulkhead/contracts";

/** Files of a kernel and its modules, by their paths below one directory. */
export interface FileTree {
  /** null: there is no such regular file */
  size(path: string): number | null;
  /** at most `limit` bytes of it; throws when it is not there */
  read(path: string, limit?: number): Buffer;
}

/** The longest module of Debian's is a graphics driver's, of 10 MB; a guest loads none above this. */
const maximumFileBytes = 64 * 2 ** 20;

const parts = (path: string): string[] => {
  const found = path.split("/");
  if (found.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) {
    throw fleetError("KERNEL_INVALID", `${JSON.stringify(path)} leads out of the kernel's directory.`);
  }
  return found;
};

/**
 * A directory that was made from an image: nobody writes to it, but what it holds is hostile. A link in it leads wherever
 * it says, also out of it: none is followed.
 */
export const fileTree = (root: string): FileTree => {
  const locate = (path: string): string | null => {
    let at = root;
    const wanted = parts(path);
    for (const [index, part] of wanted.entries()) {
      at = join(at, part);
      const found = lstatSync(at, { throwIfNoEntry: false });
      const last = index === wanted.length - 1;
      if (found === undefined || (last ? !found.isFile() : !found.isDirectory())) return null;
    }
    return at;
  };
  return {
    size: (path) => {
      const at = locate(path);
      return at === null ? null : lstatSync(at).size;
    },
    read: (path, limit = maximumFileBytes + 1) => {
      const at = locate(path);
      if (at === null) throw fleetError("KERNEL_INVALID", `The kernel has no file ${path}.`);
      const file = openSync(at, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        const { size } = fstatSync(file);
        const content = Buffer.alloc(Math.min(size, limit));
        let length = 0;
        while (length < content.length) {
          const got = readSync(file, content, length, content.length - length, length);
          if (got === 0) break;
          length += got;
        }
        if (length > maximumFileBytes) throw fleetError("KERNEL_TOO_LARGE", `${path} has ${size} bytes.`);
        return content.subarray(0, length);
      } finally {
        closeSync(file);
      }
    },
  };
};
