import type { Assignment, InstanceId, InstanceView, ViewInstance } from "@bulkhead/contracts";
import type { HostNetworks } from "@bulkhead/host";
import type { CgroupPlacement, ProcessRef } from "@bulkhead/native-namespaces";
import { defaultCapabilities } from "../capabilities.ts";
import { defaultSeccomp } from "../seccomp-profile.ts";
import type { ShareStore } from "../shares/share-store.ts";
import { readConnected } from "./connected.ts";
import { instanceView } from "./instance-view.ts";

export interface ViewedRun {
  readonly assignment: Assignment;
  readonly init: ProcessRef;
  readonly cgroup: CgroupPlacement;
  readonly host: {
    readonly shares: ShareStore;
    readonly networks: HostNetworks;
    nameOf(instanceId: InstanceId): string | undefined;
    cgroupOwners(): ReadonlyMap<string, InstanceId>;
  };
}

/** What a run's first process sees. Rejects STATE_CONFLICT when it has ended. */
export const viewOfRun = (run: ViewedRun, from: ViewInstance["seccompFrom"]): Promise<InstanceView> => {
  const { assignment, init, cgroup, host } = run;
  const { instanceId, name, spec, namespaces, shares = [] } = assignment;
  let owners: ReadonlyMap<string, InstanceId> | undefined;
  return instanceView({
    instanceId,
    name,
    init,
    cgroup,
    profile: defaultSeccomp(spec.container?.capabilities ?? defaultCapabilities),
    writable: spec.container?.writable ?? null,
    stop: from === "kernel",
    nameOf: (id) => host.nameOf(id),
    ownerOf: (name) => (owners ??= host.cgroupOwners()).get(name),
    shares: shares.map((share) => ({ ...share, ...host.shares.sourceOf(share) })),
    namespaces:
      namespaces === undefined ? null : { name: namespaces.name, links: host.shares.namespaces.linksOf(namespaces) },
    connected: () =>
      readConnected({
        pid: init.pid,
        namespaces,
        attachments: host.networks.view().attachments,
        nameOf: (id) => host.nameOf(id),
      }),
  });
};
