import { addon, type HostFeatures } from "./addon.ts";

export { initPath } from "./addon.ts";

/** What this host's kernel offers. Reads files and asks the kernel; changes nothing. */
export function probe(): HostFeatures {
  return addon.probe();
}
