import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { guestPath } from "@bulkhead/native-guest";
import { command } from "@bulkhead/images";
import { cpioArchive, cpioDirectory, cpioFile } from "./cpio.ts";
import { modulePaths } from "./modules.ts";

/** What a virtual machine boots: both files are read-only and shared by all machines of a host. */
export interface GuestKernel {
  /** as `uname -r` says it inside */
  readonly release: string;
  readonly image: string;
  readonly initramfs: string;
}

/** Debian's kernel for virtual machines, which has no drivers but theirs. */
const metapackage = "linux-image-cloud-amd64";

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

const packageName = async (): Promise<string> => {
  const ask = async (): Promise<string | undefined> =>
    /^\s*Depends: (linux-image-\S+)$/m.exec(await command("apt-cache", ["depends", metapackage]).catch(() => ""))?.[1];
  const known = await ask();
  if (known !== undefined) return known;
  await command("apt-get", ["update", "-q"]);
  const updated = await ask();
  if (updated !== undefined) return updated;
  throw fleetError(
    "SETUP_FAILED",
    `No kernel for virtual machines: apt knows no package ${metapackage}. Are the host's package sources Debian's?`,
  );
};

/** The guest's PID 1 and the modules that it loads, in order of their names. */
const initramfsOf = (modules: string): Buffer =>
  cpioArchive([
    ...guestDirectories.map(cpioDirectory),
    cpioFile("init", readFileSync(guestPath), 0o755),
    ...modulePaths(modules, guestModules).map((path, index) =>
      cpioFile(`modules/${String(index).padStart(2, "0")}-${basename(path)}`, readFileSync(join(modules, path))),
    ),
  ]);

const kernelIn = (root: string, release: string): GuestKernel => ({
  release,
  image: join(root, release, "vmlinuz"),
  initramfs: join(root, release, "initramfs"),
});

/** apt checks the package's hash against its signed lists. */
const unpack = async (name: string, directory: string): Promise<string> => {
  const options = { cwd: directory };
  await command("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", name], options);
  const archive = (await readdir(directory)).find((file) => file.endsWith(".deb")) ?? "";
  await command("dpkg-deb", ["-x", archive, "package"], options);
  return join(directory, "package");
};

/** Makes one under a name of its own and then puts it in its place, whole; the first of two that do so is kept. */
const make = async (root: string): Promise<GuestKernel> => {
  const name = await packageName();
  const release = name.slice("linux-image-".length);
  await mkdir(root, { recursive: true, mode: 0o755 });
  const directory = await mkdtemp(join(root, ".unpacking-"));
  try {
    const unpacked = await unpack(name, directory);
    await command("depmod", ["-b", unpacked, release]);
    const made = join(directory, "made");
    await mkdir(made, { mode: 0o755 });
    await rename(join(unpacked, "boot", `vmlinuz-${release}`), join(made, "vmlinuz"));
    await rename(join(unpacked, "lib/modules", release), join(made, "modules"));
    await rename(made, join(root, release)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return kernelIn(root, release);
};

const open = async (root: string): Promise<GuestKernel> => {
  const known = existsSync(root) ? (await readdir(root)).filter((name) => !name.startsWith(".")) : [];
  const [newest] = known.toSorted((a, b) => b.localeCompare(a, "en", { numeric: true }));
  const kernel = newest === undefined ? await make(root) : kernelIn(root, newest);
  const draft = `${kernel.initramfs}.${process.pid}`;
  await writeFile(draft, initramfsOf(join(root, kernel.release, "modules")), { mode: 0o644 });
  await rename(draft, kernel.initramfs);
  return kernel;
};

/** The kernels of a host's machines. */
export class GuestKernels {
  readonly #root: string;
  #current: Promise<GuestKernel> | null = null;

  constructor(root: string) {
    this.#root = root;
  }

  /**
   * The newest kernel that is there, fetched from Debian when there is none: 27 MB, a few seconds. Its initramfs is made
   * anew once by every agent, since it carries this release's own PID 1. Rejects SETUP_FAILED, and tries again next time.
   */
  current(): Promise<GuestKernel> {
    this.#current ??= open(this.#root).catch((error: unknown) => {
      this.#current = null;
      throw error;
    });
    return this.#current;
  }
}
