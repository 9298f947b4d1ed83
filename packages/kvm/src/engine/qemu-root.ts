import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { sharingPath } from "@bulkhead/native-kvm";
import { engineRoot, type RootFile } from "./engine-root.ts";
import { fileServer, librariesOf, serverFiles } from "./file-server.ts";

/** Where Debian's package puts the emulator and what it loads for a microvm with TCG. */
const program = "/usr/bin/qemu-system-x86_64";
const modulesBelow = "/usr/lib/x86_64-linux-gnu/qemu";
const modules = ["accel-tcg-x86_64.so"];
const firmwareBelow = "/usr/share/qemu";
const firmware = ["bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin"];

const filesOf = async (signal: AbortSignal): Promise<RootFile[]> => {
  const present = new Set<string>(await readdir(modulesBelow).catch(() => []));
  const loaded = modules.filter((name) => present.has(name)).map((name) => join(modulesBelow, name));
  const libraries = (await Promise.all([program, ...loaded].map((path) => librariesOf(path, signal)))).flat();
  const files = [program, ...loaded, ...libraries, ...firmware.map((name) => join(firmwareBelow, name))];
  return [...[...new Set(files)].map((path) => ({ from: path, to: path })), ...(await serverFiles(signal))];
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
  const parts = await Promise.all([program, fileServer, sharingPath].map((path) => stat(path).catch(() => null)));
  const versions = parts.map((file) => `${file?.size} ${file?.mtimeMs}`).join(" ");
  const version = createHash("sha256").update(versions).digest("hex").slice(0, 12);
  const name = `qemu-${version}`;
  return engineRoot({ directory, name, program: basename(program), files: () => filesOf(signal) }, signal);
};
