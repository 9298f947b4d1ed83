import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { guestPath } from "@bulkhead/native-guest";
import { cpioArchive, cpioDirectory, cpioFile } from "./cpio.ts";
import type { FileTree } from "./module-tree.ts";
import { modulePaths } from "./modules.ts";

/** Devices and file systems that a guest has; what they depend on follows. */
const guestModules = [
  "virtio_mmio",
  "virtio_blk",
  "virtio_console",
  "virtio_net",
  "virtio_balloon",
  "virtio_rng",
  "pvpanic_mmio",
  "vmw_vsock_virtio_transport",
  "overlay",
  "virtiofs",
] as const;

const guestDirectories = ["dev", "lower", "modules", "proc", "root", "scratch", "sys"];

/** The guest's PID 1 and the modules that it loads, in order of their names; `modules` is the directory of a release. */
export const guestInitramfs = (tree: FileTree, modules: string): Buffer => {
  const read = (path: string): Buffer => tree.read(modules === "" ? path : `${modules}/${path}`);
  return cpioArchive([
    ...guestDirectories.map(cpioDirectory),
    cpioFile("init", readFileSync(guestPath), 0o755),
    ...modulePaths(read, guestModules).map((path, index) =>
      cpioFile(`modules/${String(index).padStart(2, "0")}-${basename(path)}`, read(path)),
    ),
  ]);
};
