import { constants } from "node:fs";
import { chmod, copyFile, link, mkdir, mkdtemp, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fleetError } from "@bulkhead/contracts";

const isThere = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;

/** A file and its place in a root. */
export interface RootFile {
  readonly from: string;
  readonly to: string;
}

/** A link costs no space, and packages replace files instead of changing them. */
const place = async (root: string, file: RootFile): Promise<void> => {
  const to = join(root, file.to);
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  const real = await realpath(file.from);
  await link(real, to).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") return;
    await copyFile(real, to, constants.COPYFILE_FICLONE);
    await chmod(to, (await stat(real)).mode & 0o755);
  });
};

interface EngineRoot {
  /** the directory that holds the roots of all engines */
  readonly directory: string;
  /** of the root; another name for other files */
  readonly name: string;
  readonly program: string;
  files(): Promise<readonly RootFile[]>;
}

/** A root file system of only an engine's own files, made once. Rejects SETUP_FAILED when it cannot be made. */
export const engineRoot = async (wanted: EngineRoot, signal: AbortSignal): Promise<string> => {
  const root = join(wanted.directory, wanted.name);
  if (await isThere(root)) return root;
  await mkdir(wanted.directory, { recursive: true, mode: 0o755 });
  const draft = await mkdtemp(join(wanted.directory, ".making-"));
  try {
    for (const file of await wanted.files()) await place(draft, file);
    await mkdir(join(draft, "machine"), { mode: 0o755 });
    await chmod(draft, 0o755);
    await rename(draft, root).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw fleetError("SETUP_FAILED", `No root for ${wanted.program}: ${(cause as Error).message}`, { cause });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return root;
};
