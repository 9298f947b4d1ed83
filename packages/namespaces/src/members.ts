import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { CgroupPlacement } from "@bulkhead/native-namespaces";

/** Processes of a cgroup, as the host numbers them; throws ENOENT when it is gone. */
export const membersOf = ({ paths }: CgroupPlacement): number[] => {
  const directory = paths["pids"] ?? paths["unified"] ?? Object.values(paths)[0] ?? "";
  const text = readFileSync(join(directory, "cgroup.procs"), "utf8");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [Number(line)]));
};
