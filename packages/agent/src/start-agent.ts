import { randomBytes } from "node:crypto";
import { uuidV7, type ClusterId, type Digest } from "@bulkhead/contracts";
import { readBootId, type HostPaths } from "@bulkhead/host";
import {
  Agent,
  directoryStorage,
  openLeasePage,
  readHostUsage,
  systemClock,
  type Log,
  type Runtime,
} from "@bulkhead/node";
import type { Meters } from "@bulkhead/telemetry";
import type { BusControlPlane } from "./bus-control-plane.ts";
import type { FleetImages } from "./fleet-images.ts";
import type { Membership } from "./membership.ts";
import { meteringObserver } from "./metering.ts";

/** What isolates instances, and which images it still needs. */
export interface AgentRuntime extends Runtime {
  imagesInUse(): Promise<ReadonlySet<Digest>>;
}

export interface AgentPorts {
  readonly paths: HostPaths;
  readonly hostName: string;
  readonly clusterId: ClusterId;
  readonly runtime: AgentRuntime;
  readonly controlPlane: BusControlPlane;
  readonly images: Pick<FleetImages, "collect">;
  readonly membership: Pick<Membership, "renew">;
  readonly meters: Meters;
  /** how often every instance's contract is read back from the kernel, in milliseconds */
  readonly contractMs: number;
  readonly log: Log;
}

/** How often unused images are looked for, in milliseconds. */
const collectMs = 600_000;
/** Heartbeats unanswered for this long mean that the control plane may not know this host, in milliseconds. */
const unknownHostMs = 30_000;
const watchMs = 5_000;

/** The running agent; stopping it leaves every instance as it is. */
export interface RunningAgent extends AsyncDisposable {
  readonly agent: Agent;
}

/** Starts the agent from its ports: adopts what runs, then obeys. */
export const startAgent = async (ports: AgentPorts): Promise<RunningAgent> => {
  const { paths, runtime, controlPlane, log } = ports;
  const agent = await Agent.start({
    hostId: paths.hostId,
    hostName: ports.hostName,
    clusterId: ports.clusterId,
    bootId: readBootId(),
    runtime,
    controlPlane,
    clock: systemClock(),
    storage: directoryStorage(paths.state),
    leasePage: openLeasePage(paths.leasePage),
    log,
    newId: () => uuidV7(Date.now(), randomBytes(10)),
    observer: meteringObserver(ports.meters, runtime.isolation),
    hostUsage: readHostUsage,
    contractMs: ports.contractMs,
  });
  const collecting = setInterval(() => {
    runtime.imagesInUse().then(
      (inUse) => ports.images.collect(inUse),
      (err: unknown) => log.warn({ err }, "images in use not known"),
    );
  }, collectMs);
  const watching = setInterval(() => {
    if (controlPlane.silentMs > unknownHostMs) void ports.membership.renew("heartbeats are not answered");
  }, watchMs);
  return {
    agent,
    [Symbol.asyncDispose]: async () => {
      clearInterval(collecting);
      clearInterval(watching);
      await agent.stop();
    },
  };
};
