import { copyFile } from "node:fs/promises";
import type { Kernel } from "@bulkhead/contracts";
import { buildKernelImage } from "@bulkhead/images";
import type { Invocation } from "../command.ts";
import { imageCache } from "../image-cache.ts";
import { printList, printNamed, printObject, StatusLine } from "../output.ts";
import { formatAge } from "../quantity.ts";

const columns = (now: number) => [
  { title: "NAME", value: (row: Kernel) => (row.default ? `${row.name} (default)` : row.name) },
  { title: "RELEASE", value: (row: Kernel) => row.release },
  { title: "DIGEST", value: (row: Kernel) => row.digest.slice(0, "sha256:".length + 12) },
  { title: "ARCHITECTURE", value: (row: Kernel) => row.architecture },
  { title: "WORKLOADS", value: (row: Kernel) => row.workloads.join(", ") || "-" },
  { title: "AGE", value: (row: Kernel) => formatAge(row.createdAt, now) },
];

/** `bulkhead kernels` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().kernels.list());
  await printNamed(invocation, columns(Date.now()), rows, ({ name }) => name);
};

/** `bulkhead kernels inspect KERNEL` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  await printObject(invocation, await invocation.client().kernels.get(invocation.positionals[0] ?? ""));
};

/** `bulkhead kernels add NAME IMAGE` */
export const add = async (invocation: Invocation): Promise<void> => {
  const [name = "", image = ""] = invocation.positionals;
  const makeDefault = invocation.options.flag("default") ? { default: true } : {};
  const kernel = await invocation.client().kernels.create({ name, image, ...makeDefault });
  if (invocation.format === "table") await printList(invocation, columns(Date.now()), [kernel]);
  else await printObject(invocation, kernel);
};

/** `bulkhead kernels build PACKAGE` */
export const build = async (invocation: Invocation): Promise<void> => {
  const [named = ""] = invocation.positionals;
  const file = invocation.options.text("file") ?? `${named.split("=")[0] ?? named}.tar`;
  const status = new StatusLine(invocation.stderr);
  try {
    const built = await buildKernelImage(named, {
      cacheDir: imageCache,
      onProgress: (line) => status.show(`Building ${file}… ${line}`),
    });
    await copyFile(built, file);
  } finally {
    status.clear();
  }
  invocation.print(`${file}\n`);
};

/** `bulkhead kernels rm KERNEL…` */
export const remove = async (invocation: Invocation): Promise<void> => {
  for (const kernel of invocation.positionals) {
    await invocation.client().kernels.remove(kernel);
    invocation.say(`removed ${kernel}`);
  }
};
