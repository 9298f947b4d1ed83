import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { command } from "@bulkhead/images";
import { sharingPath } from "@bulkhead/native-kvm";
import { engineRoot, type RootFile } from "./engine-root.ts";

/** Where Debian's package puts the emulator and what it loads for a microvm with TCG. */
const program = "/usr/bin/qemu-system-x86_64";
const modulesBelow = "/usr/lib/x86_64-linux-gnu/qemu";
const modules = ["accel-tcg-x86_64.so"];
const firmwareBelow = "/usr/share/qemu";
const firmware = ["bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin"];

/** Serves a directory to a guest; Debian has it in the same package as what QEMU needs anyway, until version 7.2. */
export const fileServer = "/usr/lib/qemu/virtiofsd";
/** Starts it and becomes QEMU. */
export const sharingProgram = "/bulkhead-sharing";

export const hasFileServer = (): boolean => existsSync(fileServer) && existsSync(sharingPath);

/** Paths of what a program is linked with, from ldd(1). */
const librariesOf = async (path: string, signal: AbortSignal): Promise<string[]> => {
  const text = await command("ldd", [path], { signal });
  return [...text.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, found = ""]) => found);
};

const filesOf = async (signal: AbortSignal): Promise<RootFile[]> => {
  const present = new Set<string>(await readdir(modulesBelow).catch(() => []));
  const loaded = modules.filter((name) => present.has(name)).map((name) => join(modulesBelow, name));
  const servers = hasFileServer() ? [fileServer] : [];
  const libraries = (
    await Promise.all([program, ...loaded, ...servers].map((path) => librariesOf(path, signal)))
  ).flat();
  const files = [program, ...loaded, ...servers, ...libraries, ...firmware.map((name) => join(firmwareBelow, name))];
  const own = servers.length === 0 ? [] : [{ from: sharingPath, to: sharingProgram }];
  return [...new Set(files)].map((path): RootFile => ({ from: path, to: path })).concat(own);
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
