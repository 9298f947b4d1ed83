import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { InstanceView } from "@bulkhead/contracts";
import type { CgroupPlacement } from "@bulkhead/native-namespaces";

type Limit = InstanceView["limits"][number];

/** Files of cgroup v1 and v2 that bound something or weigh it; statistics and orders are left out. */
const limitFiles =
  /^(?:cpu\.(?:max|max\.burst|weight|idle|shares|cfs_quota_us|cfs_period_us|cfs_burst_us|rt_runtime_us)|cpuset\.(?:cpus|mems)|memory\.(?:max|high|low|min|swap\.max|limit_in_bytes|soft_limit_in_bytes|memsw\.limit_in_bytes|swappiness|oom\.group)|pids\.max|io\.(?:max|weight|bfq\.weight)|blkio\.(?:weight|bfq\.weight|throttle\.(?:read|write)_(?:bps|iops)_device)|hugetlb\..*\.(?:max|limit_in_bytes)|cgroup\.(?:freeze|max\.depth|max\.descendants))$/;

const readLimit = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8").trim().replaceAll("\n", "; ");
  } catch (error) {
    // A file of a controller that was not handed down, or a cgroup that has just gone.
    if (error instanceof Error && "code" in error && ["ENOENT", "ENODEV", "EOPNOTSUPP"].includes(String(error.code))) {
      return null;
    }
    throw error;
  }
};

/** Every limit file of an instance's cgroups with its value, as the kernel has it now; empty ones set nothing. */
export const readLimitsInForce = ({ paths }: CgroupPlacement): Limit[] => {
  const seen = new Set<string>();
  return Object.entries(paths).flatMap(([controller, directory]) =>
    readdirSync(directory)
      .filter((file) => limitFiles.test(file))
      .sort()
      .flatMap((file): Limit[] => {
        const path = join(directory, file);
        // v1 mounts cpu and cpuacct as one.
        if (seen.has(file)) return [];
        const value = readLimit(path);
        if (value === null || value === "") return [];
        seen.add(file);
        return [{ controller, file, value }];
      }),
  );
};

/** Rules of the v1 devices controller, or null where there is none. */
export const readDeviceRules = ({ paths }: CgroupPlacement): string[] | null => {
  const directory = paths["devices"];
  if (directory === undefined) return null;
  const text = readLimit(join(directory, "devices.list"));
  return text === null ? null : text.split("; ");
};
