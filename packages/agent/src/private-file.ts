import { randomBytes } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";

/** JSON of a file that only root may read, or null when there is none. Rejects CONFIG_INVALID when it was damaged. */
export const readPrivate = async <Schema extends TSchema>(
  path: string,
  schema: Schema,
): Promise<Static<Schema> | null> => {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (Value.Check(schema, value)) return value;
  } catch {
    // Told below, together with what does not fit.
  }
  throw fleetError("CONFIG_INVALID", `${path} is damaged; restore it, or remove it and let this host join again.`);
};

/** Writes a file of mode 0600 that is there whole or not at all, also after a power cut. */
export const writePrivate = async (path: string, value: unknown): Promise<void> => {
  const draft = `${path}.${randomBytes(4).toString("hex")}`;
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(value)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
};
