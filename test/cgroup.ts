import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Fleet } from "./fleet.ts";

export interface CgroupLimit {
  readonly memoryBytes: number;
  /** quota over period, in thousandths of a CPU; null without a quota */
  readonly cpuMillis: number | null;
  readonly pidsMax: number;
}

interface Hierarchy {
  readonly controllers: readonly string[];
  readonly path: string;
  readonly v2: boolean;
}

const mounts = (): Hierarchy[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line): Hierarchy[] => {
      const [head = "", tail = ""] = line.split(" - ");
      const [type, , options = ""] = tail.split(" ");
      const path = head.split(" ")[4] ?? "";
      if (type === "cgroup2") return [{ controllers: [], path, v2: true }];
      return type === "cgroup" ? [{ controllers: options.split(","), path, v2: false }] : [];
    });

const number = (text: string): number => Number(text.trim());

/** What the kernel enforces on an instance, found from its process and read from the hierarchies as mounted. */
export const readCgroupLimit = async (fleet: Fleet, instance: string): Promise<CgroupLimit> => {
  const pid = await fleet.pidOf(instance);
  const entries = readFileSync(`/proc/${pid}/cgroup`, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(":"));
  const file = (controller: string, name: string): string => {
    for (const [, list = "", path = ""] of entries) {
      if (!list.split(",").includes(controller)) continue;
      const mount = mounts().find(({ controllers }) => controllers.includes(controller));
      if (mount !== undefined) return readFileSync(join(mount.path, path, name), "utf8");
    }
    throw new Error(`no ${controller} hierarchy for ${instance}`);
  };
  const unified = entries.find(([id, list]) => id === "0" && list === "");
  const unifiedPath = join(mounts().find(({ v2 }) => v2)?.path ?? "", unified?.[2] ?? "");
  if (existsSync(join(unifiedPath, "memory.max"))) {
    const read = (name: string): string => readFileSync(join(unifiedPath, name), "utf8").trim();
    const [quota = "max", period = "100000"] = read("cpu.max").split(" ");
    return {
      memoryBytes: number(read("memory.max")),
      cpuMillis: quota === "max" ? null : (Number(quota) * 1000) / Number(period),
      pidsMax: number(read("pids.max")),
    };
  }
  const quota = number(file("cpu", "cpu.cfs_quota_us"));
  return {
    memoryBytes: number(file("memory", "memory.limit_in_bytes")),
    cpuMillis: quota < 0 ? null : (quota * 1000) / number(file("cpu", "cpu.cfs_period_us")),
    pidsMax: number(file("pids", "pids.max")),
  };
};
