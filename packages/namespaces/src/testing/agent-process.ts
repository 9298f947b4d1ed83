// An agent reduced to its runtime: starts what standard input asks for, then waits to be killed.
import { createInterface } from "node:readline";
import type { Assignment } from "@bulkhead/contracts";
import { hostPaths, MountAllowList, type HostPaths } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import { ContainerRuntime } from "../runtime.ts";

export interface AgentOrder {
  readonly paths: HostPaths;
  readonly image: EnsuredImage;
  readonly assignments: readonly Assignment[];
  /** the first start waits until this many processes are ready, and takes one */
  readonly readyProcesses?: number;
  readonly cgroupParent?: string | undefined;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { paths, image, assignments, readyProcesses, cgroupParent } = JSON.parse(line) as AgentOrder;
  const runtime = await ContainerRuntime.open({
    paths: hostPaths(
      paths.state.split("/hosts/")[0] ?? "",
      paths.run.slice(0, paths.run.lastIndexOf("/")),
      paths.hostId,
    ),
    images: { ensure: async () => image },
    mountAllowList: MountAllowList.parse(""),
    log: { warn: (fields, message) => console.error(message, fields) },
    readyProcesses,
    cgroupParent,
  });
  while (runtime.ready.count < (readyProcesses ?? 0)) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const assignment of assignments) {
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
    await runtime.start({ key, assignment }, new AbortController().signal);
    console.log(assignment.instanceId);
  }
}
