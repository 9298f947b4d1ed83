import { randomBytes } from "node:crypto";
import { chown, readFile, rename, writeFile } from "node:fs/promises";
import type { SystemUser } from "@bulkhead/bus";
import { contextPath, readContexts, withContext, withoutContext, writeContexts } from "../context-file.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** 256 random bits; the prefix lets secret scanners find a leaked one. */
const newToken = (): string => `bulkhead_${randomBytes(32).toString("base64url")}`;

/** The admin token, made at the first start; readable by root and the scheduler alone. */
export const ensureAdminToken = async (path: string, owner: SystemUser): Promise<string> => {
  const kept = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const token = kept.trim() === "" ? newToken() : kept.trim();
  if (kept.trim() === "") {
    await writeFile(`${path}.partial`, `${token}\n`, { mode: 0o600 });
    await rename(`${path}.partial`, path);
  }
  await chown(path, owner.uid, owner.gid);
  return token;
};

/** Makes this fleet known to the command line of the user who ran `up`; a context chosen before stays the current one. */
export const writeLocalContext = (
  environment: Environment,
  name: string,
  context: { readonly url: string; readonly token: string },
): string => {
  const path = contextPath(environment);
  const file = readContexts(path);
  const project = file.contexts[name]?.project;
  writeContexts(
    path,
    withContext(file, name, { ...context, ...(project === undefined ? {} : { project }) }, { use: false }),
  );
  return path;
};

/** Forgets this fleet; a context of the same name that was pointed elsewhere stays. */
export const removeLocalContext = (environment: Environment, name: string, url: string): boolean => {
  const path = contextPath(environment);
  const file = readContexts(path);
  if (file.contexts[name]?.url !== url) return false;
  writeContexts(path, withoutContext(file, name));
  return true;
};
