import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fleetError } from "@bulkhead/contracts";
import { unfinishedName } from "../blobs/owner.ts";
import { downloadPackages, packageListsFingerprint, withLibraries } from "./debian-packages.ts";
import type { BuildFile, BuildImageInput, BuildImageOptions, BuildLayer } from "./input.ts";
import { layerTar } from "./layer-tar.ts";
import { type BuiltLayer, encodeConfig, writeLayer, writeLayout } from "./layout-tar.ts";
import { putBase, putLayer, putPackage } from "./tree.ts";

/** Raised when the same input would be built into something else. */
const recipeVersion = 1;

const fileKey = async (file: BuildFile): Promise<unknown> => {
  const hash = createHash("sha256");
  const bytes = "content" in file ? [Buffer.from(file.content)] : createReadStream(file.hostPath);
  for await (const chunk of bytes) hash.update(chunk as Uint8Array);
  return [hash.digest("hex"), file.mode, file.uid, file.gid];
};

const layerKey = async (layer: BuildLayer): Promise<unknown> => {
  const files: unknown[] = [];
  for (const [path, file] of Object.entries(layer.files ?? {})) files.push([path, await fileKey(file)]);
  return [layer.packages, files, layer.directories, layer.links, layer.remove, layer.busyboxApplets];
};

const cacheKey = async (input: BuildImageInput, options: BuildImageOptions): Promise<string> => {
  const layers = [input, ...(input.layers ?? [])];
  const lists = layers.some(({ packages }) => (packages ?? []).length > 0) ? await packageListsFingerprint() : "";
  const keys = [];
  for (const layer of layers) keys.push(await layerKey(layer));
  const rest = [input.users, input.name, encodeConfig(input, []).toString(), options.compression];
  return createHash("sha256")
    .update(JSON.stringify([recipeVersion, keys, lists, rest]))
    .digest("hex");
};

const buildLayer = async (
  layer: BuildLayer,
  place: { work: string; at: number; users: BuildImageInput["users"]; options: BuildImageOptions },
): Promise<BuiltLayer> => {
  const root = join(place.work, `root${place.at}`);
  await mkdir(root);
  if (place.at === 0) await putBase(root, place.users);
  if (layer.packages !== undefined && layer.packages.length > 0) {
    const debs = join(place.work, `debs${place.at}`);
    await mkdir(debs);
    const packages = await withLibraries(layer.packages);
    place.options.onProgress?.(`downloading ${packages.length} Debian packages`);
    const kept = join(place.options.cacheDir, "packages");
    for (const deb of await downloadPackages(packages, debs, kept)) await putPackage(root, deb);
  }
  place.options.onProgress?.("writing the layer");
  await putLayer(root, layer);
  return writeLayer(layerTar(root), join(place.work, `layer${place.at}`), place.options.compression ?? "gzip");
};

/**
 * Builds an image from Debian packages and files without a daemon and without running anything of the packages, and
 * answers the path of an OCI image layout (tar) in the cache directory. An image that is there already is answered at
 * once; it is built again when its input or apt's package lists changed. Needs root (owners, ldconfig).
 * Rejects SETUP_FAILED with what apt, dpkg or ldconfig said, REQUEST_INVALID for paths that leave the image.
 */
export const buildDebianImage = async (input: BuildImageInput, options: BuildImageOptions): Promise<string> => {
  const finished = join(options.cacheDir, `${await cacheKey(input, options)}.tar`);
  if ((await stat(finished).catch(() => undefined)) !== undefined) return finished;
  if (process.getuid?.() !== 0) throw fleetError("SETUP_FAILED", "building an image needs root: its files have owners");
  await mkdir(options.cacheDir, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), "bulkhead-build-"));
  const unfinished = join(options.cacheDir, unfinishedName());
  try {
    const layers: BuiltLayer[] = [];
    for (const [at, layer] of [input, ...(input.layers ?? [])].entries()) {
      layers.push(await buildLayer(layer, { work, at, users: input.users, options }));
    }
    const config = encodeConfig(
      input,
      layers.map(({ diffId }) => diffId),
    );
    await writeLayout(unfinished, { config, layers, name: input.name });
    await rename(unfinished, finished);
    return finished;
  } finally {
    await rm(unfinished, { force: true });
    await rm(work, { recursive: true, force: true });
  }
};
