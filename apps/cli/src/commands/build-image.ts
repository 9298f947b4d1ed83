import { copyFile } from "node:fs/promises";
import { buildDebianImage } from "@bulkhead/images";
import type { Run } from "../command.ts";
import { StatusLine } from "../output.ts";
import { imageCache } from "../image-cache.ts";

/** Programs that make links for the small tools of a shell when they are among the packages. */
const busybox = new Set(["busybox", "busybox-static"]);

const bareName = (wanted: string): string => wanted.split("=")[0] ?? wanted;

/** `bulkhead images build PACKAGE… [-- COMMAND…]` */
export const run: Run = async (invocation) => {
  const packages = invocation.positionals;
  const [first = "image"] = packages.map(bareName);
  const file = invocation.options.text("file") ?? `${first}.tar`;
  const status = new StatusLine(invocation.stderr);
  try {
    const built = await buildDebianImage(
      {
        packages,
        busyboxApplets: packages.some((wanted) => busybox.has(bareName(wanted))),
        ...(invocation.rest.length === 0 ? { cmd: [first] } : { cmd: [...invocation.rest] }),
      },
      {
        cacheDir: imageCache,
        onProgress: (line) => status.show(`Building ${file}… ${line}`),
      },
    );
    await copyFile(built, file);
  } finally {
    status.clear();
  }
  invocation.print(`${file}\n`);
};
