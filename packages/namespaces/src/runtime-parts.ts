import { readFileSync } from "node:fs";
import {
  hasPacketRules,
  HostNetworks,
  openCgroupParents,
  openRunDirectory,
  openStateDirectory,
  readCgroups,
  UidRanges,
  type CgroupLayout,
  type CgroupParents,
  type HostPaths,
} from "@bulkhead/host";
import { placeShims, probe, type HostFeatures } from "@bulkhead/native-namespaces";
import { enforcementOf } from "./enforcement.ts";
import { openMountPoints } from "./mount-points.ts";
import type { Enforcement } from "./resources.ts";
import { keepNameServers } from "./shares/name-servers.ts";

/** Hard limit on open files of this process, which no child can exceed (proc(5), /proc/PID/limits). */
export const readOpenFilesMax = (): number => {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return hard === undefined || hard === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(hard);
};

/** What a runtime works with on one host. */
export interface RuntimeParts {
  readonly layout: CgroupLayout;
  readonly parents: CgroupParents;
  readonly features: HostFeatures;
  readonly uidRanges: UidRanges;
  readonly networks: HostNetworks;
  readonly packetRules: boolean;
  readonly enforcement: Enforcement;
}

/** Opens the host's directories and cgroups; root only. Rejects when no cgroup hierarchy can be used. */
export const openRuntimeParts = async (paths: HostPaths, cgroupParent?: string): Promise<RuntimeParts> => {
  await openStateDirectory(paths);
  await openRunDirectory(paths);
  await openMountPoints(paths.mountPoints);
  const layout = readCgroups();
  const parents = await openCgroupParents(paths.cgroups, layout, cgroupParent);
  placeShims(parents.shims);
  const networks = new HostNetworks({ hash: paths.hash, runDir: paths.run, isolation: paths.isolation });
  // Of the two agents the one that holds namespaces.
  if (paths.isolation === "container") keepNameServers(paths, networks);
  return {
    layout,
    parents,
    features: probe(),
    networks,
    packetRules: await hasPacketRules(),
    uidRanges: await UidRanges.open(paths.uidRanges, paths.hash),
    enforcement: await enforcementOf(paths, parents),
  };
};
