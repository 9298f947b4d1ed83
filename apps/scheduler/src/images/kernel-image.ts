import { type Image, fleetError } from "@bulkhead/contracts";
import { type KernelLayout, readKernel } from "@bulkhead/images";
import type { ImageStore } from "../ports.ts";

/** Processors that a fleet's machines have, as images name them. */
const architecture = "amd64";

/**
 * The kernel that an image holds. Rejects KERNEL_INVALID with what is wrong with it, KERNEL_TOO_LARGE, IMAGE_UNAVAILABLE.
 */
export const kernelOf = async (
  images: Pick<ImageStore, "open">,
  image: Image,
  signal: AbortSignal,
): Promise<KernelLayout & { readonly architecture: string }> => {
  const [layer, ...others] = image.layers;
  if (layer === undefined || others.length > 0) {
    throw fleetError("KERNEL_INVALID", `An image of a kernel has one layer, not ${image.layers.length}.`);
  }
  if (image.config.architecture !== architecture) {
    throw fleetError("KERNEL_INVALID", `The image is for ${image.config.architecture}, not for ${architecture}.`);
  }
  return { ...(await readKernel(await images.open(layer.digest, 0), signal)), architecture };
};
