import { createHash } from "node:crypto";
import { lstat, mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fleetError, kernelReleasePattern } from "@bulkhead/contracts";
import { unfinishedName } from "../blobs/owner.ts";
import { command } from "./command.ts";
import { downloadPackages } from "./debian-packages.ts";
import type { BuildImageOptions } from "./input.ts";
import { layerTar } from "./layer-tar.ts";
import { encodeConfig, writeLayer, writeLayout } from "./layout-tar.ts";

/** Raised when the same package would be built into something else. */
const recipeVersion = 1;

/** Times of what is made here: equal packages must give equal images. */
const settleIndexes = async (modules: string): Promise<void> => {
  for (const name of (await readdir(modules)).filter((each) => each.startsWith("modules."))) {
    await utimes(join(modules, name), 0, 0);
  }
};

/** Leaves of an unpacked package the kernel and its modules, with the indexes that depmod makes of these. */
const keepKernel = async (root: string, unpacked: string, name: string): Promise<void> => {
  const found = await readdir(join(unpacked, "boot")).catch(() => []);
  const [file] = found.filter((each) => each.startsWith("vmlinuz-"));
  const release = file?.slice("vmlinuz-".length) ?? "";
  if (!new RegExp(kernelReleasePattern).test(release)) {
    throw fleetError(
      "KERNEL_INVALID",
      `Package ${name} holds no kernel; name the package of a release, as \`apt-cache depends ${name}\` shows it.`,
    );
  }
  const usr = (await lstat(join(unpacked, "lib/modules")).catch(() => null)) === null;
  const modules = usr ? "usr/lib/modules" : "lib/modules";
  await command("depmod", ["-b", usr ? join(unpacked, "usr") : unpacked, release]);
  await settleIndexes(join(unpacked, modules, release));
  await mkdir(join(root, "boot"), { recursive: true });
  await mkdir(join(root, "lib/modules"), { recursive: true });
  await rename(join(unpacked, "boot", `vmlinuz-${release}`), join(root, "boot", `vmlinuz-${release}`));
  await rename(join(unpacked, modules, release), join(root, "lib/modules", release));
  // Links to the sources that it was built from, which are not there.
  for (const link of ["build", "source"]) await rm(join(root, "lib/modules", release, link), { force: true });
};

/**
 * Builds the image of a kernel from the Debian package that holds it (`name` or `name=version`), and answers the path of
 * an OCI image layout (tar) in the cache directory; nothing of the package is run. Needs root, as its files have owners.
 * Rejects KERNEL_INVALID when the package holds none, SETUP_FAILED with what apt, dpkg or depmod said.
 */
export const buildKernelImage = async (name: string, options: BuildImageOptions): Promise<string> => {
  if (process.getuid?.() !== 0) throw fleetError("SETUP_FAILED", "building an image needs root: its files have owners");
  const work = await mkdtemp(join(tmpdir(), "bulkhead-kernel-"));
  try {
    const [debs, root, unpacked] = ["debs", "root", "unpacked"].map((part) => join(work, part)) as [
      string,
      string,
      string,
    ];
    await mkdir(debs);
    await mkdir(root);
    options.onProgress?.(`downloading ${name}`);
    const [deb] = await downloadPackages([name], debs, join(options.cacheDir, "packages"));
    if (deb === undefined) throw fleetError("SETUP_FAILED", `apt downloaded nothing for ${name}`);
    const key = [recipeVersion, deb.split("/").at(-1), options.compression];
    const finished = join(
      options.cacheDir,
      `kernel-${createHash("sha256").update(JSON.stringify(key)).digest("hex")}.tar`,
    );
    if ((await stat(finished).catch(() => undefined)) !== undefined) return finished;
    await command("dpkg-deb", ["-x", deb, unpacked]);
    await keepKernel(root, unpacked, name);
    options.onProgress?.("writing the layer");
    const layer = await writeLayer(layerTar(root), join(work, "layer"), options.compression ?? "gzip");
    const unfinished = join(options.cacheDir, unfinishedName());
    try {
      await writeLayout(unfinished, { config: encodeConfig({}, [layer.diffId]), layers: [layer], name: undefined });
      await rename(unfinished, finished);
    } finally {
      await rm(unfinished, { force: true });
    }
    return finished;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
};
