import { isAbsolute, normalize } from "node:path";
import { fleetError } from "@bulkhead/contracts";

const withoutTrailingSlash = (path: string): string => (path.length > 1 ? path.replace(/\/+$/, "") : path);

/** True when `path` is `directory` or lies below it, by name alone. */
const isWithin = (path: string, directory: string): boolean =>
  directory === "/" || path === directory || path.startsWith(`${directory}/`);

/**
 * Host directories below which instances may have mounts. It comes from the agent's own configuration and from nowhere
 * else; empty, it allows nothing. Names are compared here; that no symbolic link leads out is the kernel's check
 * (openat2 RESOLVE_BENEATH) when the mount is made.
 */
export class MountAllowList {
  readonly directories: readonly string[];

  /** Throws CONFIG_INVALID for an entry that is not an absolute, normal path. */
  constructor(directories: readonly string[]) {
    this.directories = directories.map((directory) => {
      const path = withoutTrailingSlash(directory);
      if (!isAbsolute(path) || normalize(path) !== path) {
        throw fleetError(
          "CONFIG_INVALID",
          `BULKHEAD_MOUNT_ALLOW: "${directory}" is not an absolute path without "." or ".."`,
        );
      }
      return path;
    });
  }

  /** Reads the colon-separated form of the configuration. */
  static parse(text: string): MountAllowList {
    return new MountAllowList(text.split(":").filter((part) => part !== ""));
  }

  /** The deepest allowed directory that `hostPath` is in, or null: it may not be mounted. */
  rootOf(hostPath: string): string | null {
    const path = withoutTrailingSlash(hostPath);
    if (!isAbsolute(path) || normalize(path) !== path) return null;
    const roots = this.directories.filter((directory) => isWithin(path, directory));
    return roots.toSorted((a, b) => b.length - a.length)[0] ?? null;
  }
}
