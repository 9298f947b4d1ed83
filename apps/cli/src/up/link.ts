import { lstat, readlink, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { isMainFleet, type Layout } from "./settings.ts";

/** Where root's shell finds it without a change of PATH. */
const linkPath = "/usr/local/bin/bulkhead";

const target = (checkout: string): string => join(checkout, "apps/cli/bin/bulkhead");

/** Where the link leads; undefined when there is nothing, empty when something else has the name. */
const present = async (): Promise<string | undefined> => {
  const entry = await lstat(linkPath).catch(() => undefined);
  if (entry === undefined) return undefined;
  return entry.isSymbolicLink() ? readlink(linkPath) : "";
};

/**
 * Puts `bulkhead` on PATH for the machine's own fleet, unless something else of that name is there. A link that leads nowhere is one of a checkout
 * that was deleted. Answers what to type.
 */
export const linkCommand = async (layout: Layout): Promise<string> => {
  const wanted = target(layout.checkout);
  const now = await present();
  if (now === wanted) return "bulkhead";
  if (!isMainFleet(layout)) return wanted;
  if (now?.endsWith("/apps/cli/bin/bulkhead") === true && (await lstat(now).catch(() => undefined)) === undefined) {
    await rm(linkPath, { force: true });
  } else if (now !== undefined) {
    return wanted;
  }
  try {
    await symlink(wanted, linkPath);
    return "bulkhead";
  } catch {
    // A read-only /usr is no reason not to start.
    return wanted;
  }
};

/** Takes the link away when it is this checkout's. */
export const unlinkCommand = async (checkout: string): Promise<boolean> => {
  if ((await present()) !== target(checkout)) return false;
  await rm(linkPath, { force: true });
  return true;
};
