import type { Assignment, InstanceId } from "@bulkhead/contracts";
import type { HostNetworks, PromisedCpus } from "@bulkhead/host";
import type { CgroupPlacement } from "@bulkhead/native-namespaces";
import type { RunKey } from "@bulkhead/node";
import type { RunPaths } from "./instance-paths.ts";
import type { KernelLog } from "./kernel-log.ts";
import type { ResizeInput } from "./resize.ts";
import type { RunRecord } from "./run-record.ts";
import type { ScratchDisks } from "./scratch-disk.ts";
import type { ShareStore } from "./shares/share-store.ts";

/** A run as its host knows it. */
export interface HostedRun {
  readonly key: RunKey;
  readonly assignment: Assignment;
  readonly paths: RunPaths;
  readonly cgroup: CgroupPlacement;
}

/** What a run needs of the host it is on; the runtime gives it. */
export interface RunHost {
  readonly mode: ResizeInput["mode"];
  readonly enforcement: ResizeInput["enforcement"];
  readonly openFilesMax: number;
  capacity(): ResizeInput["capacity"];
  cpusOf(run: HostedRun): PromisedCpus;
  saveRecord(paths: RunPaths, record: RunRecord): Promise<void>;
  /** `shimGone`: until then its shim holds the writable layer's mount */
  release(run: HostedRun, shimGone: Promise<void>): Promise<void>;
  readonly shares: ShareStore;
  readonly disks: ScratchDisks;
  readonly networks: HostNetworks;
  readonly kernel: string;
  readonly kernelLog: KernelLog;
  /** name of an instance of this host, if it is known */
  nameOf(instanceId: InstanceId): string | undefined;
  /** instances of this host, of both agents, by the names of their cgroups */
  cgroupOwners(): ReadonlyMap<string, InstanceId>;
  /** called once, when a living run has ended */
  ended(run: HostedRun): void;
}
