import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { chmod, copyFile, link, mkdir, mkdtemp, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { command } from "@bulkhead/images";

/** Where Debian's package puts the emulator and what it loads for a microvm with TCG. */
const program = "/usr/bin/qemu-system-x86_64";
const modulesBelow = "/usr/lib/x86_64-linux-gnu/qemu";
const modules = ["accel-tcg-x86_64.so"];
const firmwareBelow = "/usr/share/qemu";
const firmware = ["bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin"];

/** Paths of what a program is linked with, from ldd(1). */
const librariesOf = async (path: string, signal: AbortSignal): Promise<string[]> => {
  const text = await command("ldd", [path], { signal });
  return [...text.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, found = ""]) => found);
};

const isThere = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;

/** One file under its own name; a link costs no space, and packages replace files instead of changing them. */
const place = async (from: string, root: string): Promise<void> => {
  const to = join(root, from);
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  const real = await realpath(from);
  await link(real, to).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") return;
    await copyFile(real, to, constants.COPYFILE_FICLONE);
    await chmod(to, (await stat(real)).mode & 0o755);
  });
};

/**
 * A root file system of only QEMU's own files, made once for each version that the host has installed. Rejects
 * SETUP_FAILED when it has none.
 */
export const qemuRoot = async (directory: string, signal: AbortSignal): Promise<string> => {
  const installed = await stat(program).catch(() => null);
  if (installed === null) {
    throw fleetError("SETUP_FAILED", `${program} is not there; it is in Debian's package qemu-system-x86.`);
  }
  const version = createHash("sha256").update(`${installed.size} ${installed.mtimeMs}`).digest("hex").slice(0, 12);
  const root = join(directory, `qemu-${version}`);
  if (await isThere(root)) return root;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const draft = await mkdtemp(join(directory, ".making-"));
  try {
    const present = new Set<string>(await readdir(modulesBelow).catch(() => []));
    const loaded = modules.filter((name) => present.has(name)).map((name) => join(modulesBelow, name));
    const libraries = (await Promise.all([program, ...loaded].map((path) => librariesOf(path, signal)))).flat();
    const files = [program, ...loaded, ...libraries, ...firmware.map((name) => join(firmwareBelow, name))];
    for (const file of new Set(files)) await place(file, draft);
    await mkdir(join(draft, "machine"), { mode: 0o755 });
    await chmod(draft, 0o755);
    await rename(draft, root).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw fleetError("SETUP_FAILED", `No root for ${basename(program)}: ${(cause as Error).message}`, { cause });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return root;
};
