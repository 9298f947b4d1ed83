import { join } from "node:path";
import type { Digest, InstanceId } from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import type { RunKey } from "@bulkhead/node";

/** Where one run of a machine lies, below its instance's directory. */
export interface MachinePaths {
  readonly root: string;
  /** what is kept between runs: one disk for each image that the instance has run */
  readonly scratch: string;
  readonly run: string;
  readonly record: string;
  readonly settings: string;
  readonly report: string;
  readonly ports: string;
}

/** The instance's own directory of machines' files; it goes with the instance. */
export const machinesOf = (host: HostPaths, instanceId: InstanceId): string =>
  join(host.instances, instanceId, "machine");

export const machinePaths = (host: HostPaths, key: RunKey, image: Digest): MachinePaths => {
  const root = machinesOf(host, key.instanceId);
  const run = join(root, `${key.epoch.era}.${key.epoch.n}.${key.attempt}`);
  return {
    root,
    scratch: join(root, `${image.replace(":", "-")}.scratch`),
    run,
    record: join(run, "record.json"),
    settings: join(run, "settings"),
    report: join(run, "report"),
    ports: join(run, "ports"),
  };
};
