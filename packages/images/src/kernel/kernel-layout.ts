import { fleetError, kernelReleasePattern, maximumKernelBytes } from "@bulkhead/contracts";
import { kernelHeaderFault } from "./kernel-header.ts";

/** A file of an image that may be a part of a kernel. */
export interface KernelFile {
  /** from the root, without a slash in front */
  readonly path: string;
  readonly sizeBytes: number;
}

/** Where a kernel lies in an image. */
export interface KernelLayout {
  readonly release: string;
  /** path of the file to boot */
  readonly image: string;
  /** path of the directory of its modules */
  readonly modules: string;
}

const invalid = (what: string) => fleetError("KERNEL_INVALID", what);

const release = new RegExp(kernelReleasePattern);
const imagePath = /^boot\/vmlinuz-([^/]+)$/;
/** What depmod(8) writes, and what a kernel's own build does: without them nobody knows what loads in which order. */
const indexes = ["modules.dep", "modules.builtin"] as const;

/**
 * The one kernel of an image's files. Throws KERNEL_INVALID when there is none, more than one, or a part is missing;
 * KERNEL_TOO_LARGE.
 */
export const kernelLayout = (files: readonly KernelFile[]): KernelLayout => {
  const found = files.filter(({ path }) => imagePath.test(path));
  const [image, ...others] = found;
  if (image === undefined) throw invalid("The image has no file boot/vmlinuz-RELEASE.");
  if (others.length > 0) {
    throw invalid(
      `The image has ${found.length} kernels (${found.map(({ path }) => path).join(", ")}) instead of one.`,
    );
  }
  const name = imagePath.exec(image.path)?.[1] ?? "";
  if (!release.test(name)) throw invalid(`${image.path} names no release of a kernel.`);
  if (image.sizeBytes > maximumKernelBytes) {
    throw fleetError(
      "KERNEL_TOO_LARGE",
      `${image.path} is ${image.sizeBytes} bytes long; a host boots none above ${maximumKernelBytes}.`,
    );
  }
  const paths = new Set(files.map(({ path }) => path));
  const modules = [`lib/modules/${name}`, `usr/lib/modules/${name}`].find((directory) =>
    paths.has(`${directory}/${indexes[0]}`),
  );
  if (modules === undefined) throw invalid(`The image has no lib/modules/${name}/${indexes[0]} (depmod makes it).`);
  if (!paths.has(`${modules}/${indexes[1]}`)) throw invalid(`The image has no ${modules}/${indexes[1]}.`);
  return { release: name, image: image.path, modules };
};

/** Throws KERNEL_INVALID when a file that begins with `head` is no kernel. */
export const assertKernelHead = (path: string, head: Buffer): void => {
  const fault = kernelHeaderFault(head);
  if (fault !== null) throw invalid(`${path} ${fault}.`);
};
