import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { systemUser, type SystemUser } from "@bulkhead/bus";
import { fleetError, isFleetError } from "@bulkhead/contracts/errors";

const execute = promisify(execFile);

/** The unprivileged accounts of a one-host fleet, one per service. Several fleets of a machine share them. */
export const serviceUsers = ["bulkhead-scheduler", "bulkhead-metrics", "bulkhead-nats", "bulkhead-postgres"] as const;
export type ServiceUser = (typeof serviceUsers)[number];

const present = async (name: string): Promise<SystemUser | undefined> => {
  try {
    return await systemUser(name);
  } catch (error) {
    if (isFleetError(error) && error.code === "SETUP_FAILED") return undefined;
    throw error;
  }
};

const make = async (name: string): Promise<void> => {
  try {
    await execute("useradd", [
      "--system",
      "--user-group",
      "--no-create-home",
      "--home-dir",
      "/nonexistent",
      "--shell",
      "/usr/sbin/nologin",
      "--comment",
      "Bulkhead service",
      name,
    ]);
  } catch (cause) {
    // Another `up` may have made it meanwhile; whether it is there is what counts.
    if ((await present(name)) !== undefined) return;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fleetError("SETUP_FAILED", `The system user ${name} could not be made: ${why}`, { cause });
  }
};

/** Makes the accounts that are missing. Throws SETUP_FAILED with what useradd said. */
export const ensureUsers = async (): Promise<Readonly<Record<ServiceUser, SystemUser>>> => {
  const users: Partial<Record<ServiceUser, SystemUser>> = {};
  for (const name of serviceUsers) {
    if ((await present(name)) === undefined) await make(name);
    users[name] = await systemUser(name);
  }
  return users as Record<ServiceUser, SystemUser>;
};

/** Real user ids of every process of the machine. */
const livingUids = async (): Promise<ReadonlySet<number>> => {
  const uids = new Set<number>();
  for (const pid of (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name))) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const uid = /^Uid:\s+(\d+)/m.exec(status)?.[1];
    if (uid !== undefined) uids.add(Number(uid));
  }
  return uids;
};

/** Removes the accounts nothing runs as any more; names those that another fleet of this machine still uses. */
export const removeUsers = async (): Promise<{ removed: string[]; inUse: string[] }> => {
  const living = await livingUids();
  const removed: string[] = [];
  const inUse: string[] = [];
  for (const name of serviceUsers) {
    const user = await present(name);
    if (user === undefined) continue;
    if (living.has(user.uid)) {
      inUse.push(name);
      continue;
    }
    await execute("userdel", [name]);
    removed.push(name);
  }
  return { removed, inUse };
};
