import { open, readFile, rename } from "node:fs/promises";
import { HostCredential } from "@bulkhead/contracts";
import { Type, type Static } from "typebox";
import { Value } from "typebox/value";

/** What one agent holds after it joined; the seed was made here and is nowhere else. */
export const StoredCredential = Type.Object({
  ...HostCredential.properties,
  publicKey: Type.String(),
  seed: Type.String(),
});
export type StoredCredential = Static<typeof StoredCredential>;

/** null when there is none, or none that is whole: joining again makes a new one. */
export const readStoredCredential = async (path: string): Promise<StoredCredential | null> => {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
  try {
    const credential: unknown = JSON.parse(text);
    return Value.Check(StoredCredential, credential) ? credential : null;
  } catch {
    return null;
  }
};

/** Atomic and durable, mode 0600. */
export const writeStoredCredential = async (path: string, credential: StoredCredential): Promise<void> => {
  const temporary = `${path}.new`;
  {
    await using file = await open(temporary, "w", 0o600);
    await file.writeFile(`${JSON.stringify(credential)}\n`);
    await file.datasync();
  }
  await rename(temporary, path);
};
