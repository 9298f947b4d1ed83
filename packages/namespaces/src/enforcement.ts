import { existsSync } from "node:fs";
import { join } from "node:path";
import { diskOf, type CgroupParents, type HostPaths } from "@bulkhead/host";
import type { Enforcement } from "./resources.ts";

const hasIoWeight = (parents: CgroupParents): boolean =>
  parents.mode === "v2"
    ? ["io.bfq.weight", "io.weight"].some((file) => existsSync(join(parents.paths["unified"] ?? "", file)))
    : ["blkio.bfq.weight", "blkio.weight"].some((file) => existsSync(join(parents.paths["blkio"] ?? "", file)));

/** What this host can enforce beyond the basics, found by what its cgroups offer. */
export const enforcementOf = async (paths: HostPaths, parents: CgroupParents): Promise<Enforcement> => ({
  disk: parents.controllers.has("io") ? await diskOf(paths.state) : null,
  ioWeight: hasIoWeight(parents),
  swap:
    parents.mode === "v2"
      ? existsSync(join(parents.paths["unified"] ?? "", "memory.swap.max"))
      : existsSync(join(parents.paths["memory"] ?? "", "memory.memsw.limit_in_bytes")),
});
