// An agent that its test kills: starts one machine of a host, and when it is told to, stops it.
import { once } from "node:events";
import type { Assignment } from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import { openMachines, type SharedParts } from "./machine-rig.ts";

export interface DyingAgent {
  readonly paths: HostPaths;
  readonly shared: SharedParts;
  readonly assignment: Assignment;
}

const { paths, shared, assignment } = JSON.parse(process.argv[2] ?? "") as DyingAgent;
const { runtime } = await openMachines(paths, shared);
const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
const run = await runtime.start({ key, assignment }, new AbortController().signal);
process.stdout.write("running\n");
await once(process.stdin, "data");
await run.stop(60_000);
