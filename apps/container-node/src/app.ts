import { randomUUID } from "node:crypto";
import { readBootId, type HostPaths } from "@bulkhead/host";
import type { ClusterId } from "@bulkhead/contracts";
import {
  Agent,
  directoryStorage,
  openLeasePage,
  systemClock,
  type ControlPlane,
  type Log,
  type Runtime,
} from "@bulkhead/node";
import type { Meters } from "@bulkhead/telemetry";
import { meteredObserver } from "./metered-observer.ts";

export interface AppParts {
  readonly paths: HostPaths;
  readonly hostName: string;
  readonly clusterId: ClusterId;
  readonly runtime: Runtime;
  readonly controlPlane: ControlPlane;
  readonly meters: Meters;
  readonly log: Log;
}

/** The agent over the container runtime; resolves when it has adopted what runs. */
export const buildAgent = (parts: AppParts): Promise<Agent> => {
  const { paths, hostName, clusterId, runtime, controlPlane, meters, log } = parts;
  return Agent.start({
    hostId: paths.hostId,
    hostName,
    clusterId,
    bootId: readBootId(),
    runtime,
    controlPlane,
    clock: systemClock(),
    storage: directoryStorage(paths.state),
    leasePage: openLeasePage(paths.leasePages[runtime.isolation]),
    log,
    newId: randomUUID,
    observer: meteredObserver(meters, runtime.isolation),
  });
};
