import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fleetError, type Digest } from "@bulkhead/contracts";
import { command } from "@bulkhead/images";
import { makeImageKernel } from "./image-kernel.ts";
import { guestInitramfs } from "./initramfs.ts";
import type { GuestKernel } from "./kernel-files.ts";
import { fileTree } from "./module-tree.ts";

/** Debian's kernel for virtual machines, which has no drivers but theirs. */
const metapackage = "linux-image-cloud-amd64";

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
  await writeFile(draft, guestInitramfs(fileTree(join(root, kernel.release, "modules")), ""), { mode: 0o644 });
  await rename(draft, kernel.initramfs);
  return kernel;
};

/** Below the root, where the newest is looked for among names without a dot. */
const registered = ".registered";

/** The kernels of a host's machines. */
export class GuestKernels {
  readonly #root: string;
  readonly #imageRoot: string;
  #current: Promise<GuestKernel> | null = null;
  readonly #images = new Map<Digest, Promise<GuestKernel>>();

  /**
   * `root` may be shared by hosts: what it holds is Debian's. `imageRoot` is this host's own, for kernels of images, which
   * go when none of its machines runs on them.
   */
  constructor(root: string, imageRoot: string = join(root, registered)) {
    this.#root = root;
    this.#imageRoot = imageRoot;
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

  /** The kernel of an image that this agent made already. */
  known(digest: Digest): Promise<GuestKernel> | undefined {
    return this.#images.get(digest);
  }

  /**
   * The kernel of an image with these layers, made once by every agent. Rejects KERNEL_INVALID, KERNEL_TOO_LARGE, and
   * tries again next time.
   */
  ofImage(digest: Digest, layers: readonly string[]): Promise<GuestKernel> {
    const known = this.#images.get(digest);
    if (known !== undefined) return known;
    const directory = join(this.#imageRoot, digest.replace(/^sha256:/, ""));
    const making = makeImageKernel(directory, digest, layers).catch((error: unknown) => {
      this.#images.delete(digest);
      throw error;
    });
    this.#images.set(digest, making);
    return making;
  }

  /** Removes kernels of images but those in use and those asked for since the last time. */
  async collect(inUse: ReadonlySet<string>): Promise<void> {
    const directory = this.#imageRoot;
    const kept = new Set([...inUse, ...this.#images.keys()].map((digest) => digest.replace(/^sha256:/, "")));
    for (const digest of this.#images.keys()) if (!inUse.has(digest)) this.#images.delete(digest);
    const found = existsSync(directory) ? await readdir(directory) : [];
    // One that is being made has a name of its own until it is whole.
    const unused = found.filter((name) => !kept.has(name.split(".")[0] ?? ""));
    await Promise.all(unused.map((name) => rm(join(directory, name), { recursive: true, force: true })));
  }
}
