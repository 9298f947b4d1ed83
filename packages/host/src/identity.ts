import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fleetError, HostId, uuidV7 } from "@bulkhead/contracts";
import { Value } from "typebox/value";

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

const parse = (text: string, path: string): HostId => {
  const id = text.trim();
  if (Value.Check(HostId, id)) return id;
  throw fleetError(
    "CONFIG_INVALID",
    `${path} does not hold a host id; restore it from a backup. Deleting it makes this machine a new host.`,
  );
};

/**
 * The machine's host id, made once and kept in `<stateDir>/host-id`. Two agents starting together get the same one:
 * the file appears whole or not at all. Rejects CONFIG_INVALID when the file was damaged.
 */
export const readOrCreateHostId = async (stateDir: string, nowUnixMs: number): Promise<HostId> => {
  const path = join(stateDir, "host-id");
  const existing = await readFile(path, "utf8").catch((error: unknown) => {
    if (isCode(error, "ENOENT")) return null;
    throw error;
  });
  if (existing !== null) return parse(existing, path);
  await mkdir(stateDir, { recursive: true });
  const made = uuidV7(nowUnixMs, randomBytes(10));
  const draft = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    const file = await open(draft, "wx", 0o644);
    try {
      await file.writeFile(`${made}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(draft, path).catch((error: unknown) => {
      if (!isCode(error, "EEXIST")) throw error;
    });
  } finally {
    await rm(draft, { force: true });
  }
  return parse(await readFile(path, "utf8"), path);
};
