import { readFile } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";

export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** An account of /etc/passwd. Throws SETUP_FAILED when it does not exist. */
export const systemUser = async (name: string): Promise<SystemUser> => {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n");
  const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(":");
  const [uid, gid] = [Number(fields?.[2]), Number(fields?.[3])];
  if (!Number.isInteger(uid) || !Number.isInteger(gid)) {
    throw fleetError("SETUP_FAILED", `There is no system user ${name}; \`npm run up\` makes those it needs.`);
  }
  return { name, uid, gid };
};

/** Name of the account this process runs as, for peer authentication. */
export const ownUserName = async (): Promise<string> => {
  const uid = process.getuid?.() ?? 0;
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  return lines.find((fields) => Number(fields[2]) === uid)?.[0] ?? String(uid);
};
