import { chmod, chown, lstat, mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SystemUser } from "@bulkhead/bus";
import type { Layout } from "./settings.ts";
import { requireTraversable } from "./requirements.ts";
import type { ServiceUser } from "./users.ts";

const takeOver = async (path: string, user: SystemUser): Promise<void> => {
  const entry = await lstat(path);
  if (entry.isDirectory()) for (const name of await readdir(path)) await takeOver(join(path, name), user);
  if (!entry.isSymbolicLink()) await chown(path, user.uid, user.gid);
};

/**
 * A directory of a service's own. When its owner has another number than before (the accounts were removed and made
 * again), everything in it follows.
 */
const ownedBy = async (path: string, user: SystemUser): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await chmod(path, 0o700);
  if ((await lstat(path)).uid !== user.uid) await takeOver(path, user);
};

const passable = async (path: string, mode: number): Promise<void> => {
  await mkdir(path, { recursive: true });
  await chmod(path, mode);
};

/**
 * Makes the state directory and what is in it. Parents can be passed through and not listed; each service owns its own
 * place and can read no other's. Throws SETUP_FAILED when the services' users could not get there.
 */
export const makeDirectories = async (
  layout: Layout,
  users: Readonly<Record<ServiceUser, SystemUser>>,
): Promise<void> => {
  await mkdir(layout.state, { recursive: true });
  await passable(layout.state, 0o711);
  await requireTraversable(layout.state, "BULKHEAD_STATE_DIR");
  for (const path of [layout.control, layout.cache, layout.run, layout.runUp]) await passable(path, 0o711);
  await requireTraversable(layout.runUp, "BULKHEAD_RUN_DIR");
  await passable(layout.logs, 0o700);
  await passable(layout.shared, 0o755);
  await ownedBy(join(layout.control, "postgres"), users["bulkhead-postgres"]);
  await ownedBy(layout.nats, users["bulkhead-nats"]);
  await ownedBy(layout.blobs, users["bulkhead-scheduler"]);
  await ownedBy(dirname(layout.registryAuth), users["bulkhead-scheduler"]);
  for (const name of ["scheduler", "metrics"] as const) {
    await ownedBy(join(layout.cache, name), users[`bulkhead-${name}`]);
  }
};
