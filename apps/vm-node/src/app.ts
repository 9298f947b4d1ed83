import { join } from "node:path";
import type { AgentKind, RuntimeParts } from "@bulkhead/agent";
import { hostResolvers, MountAllowList, NameResponder } from "@bulkhead/host";
import { GuestKernels, kvmEngine, MachineRuntime, qemuEngine } from "@bulkhead/kvm";
import { ContainerRuntime } from "@bulkhead/namespaces";

/** Opens the machine runtime of this host, whose monitors run in jails of the container runtime, and answers names. */
const openRuntime = async ({ config, paths, images, scope }: RuntimeParts): Promise<MachineRuntime> => {
  const { log } = scope;
  const engines = join(paths.state, "engines");
  const jail = await ContainerRuntime.open({
    paths,
    images: { ensure: () => Promise.reject(new Error("a jail runs no image")) },
    mountAllowList: new MountAllowList(config.mountAllow),
    log,
    cgroupParent: config.cgroupParent,
  });
  const forward = config.dnsForward ? hostResolvers() : null;
  scope.use("names", new NameResponder({ networks: jail.networks, forward, log }));
  return new MachineRuntime({
    paths,
    jail,
    engines: [kvmEngine({ directory: engines }), qemuEngine(engines)],
    kernels: new GuestKernels(config.kernelDir ?? join(config.stateDir, "kernels"), join(paths.state, "kernels")),
    images,
    diskRoot: join(paths.state, "disks"),
    log,
  });
};

/** The agent that runs virtual machines. */
export const vmNode: AgentKind = {
  name: "vm-node",
  isolation: "vm",
  powers: "makes jails for the monitors of its machines",
  openRuntime,
};
