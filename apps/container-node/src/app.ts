import type { AgentKind, RuntimeParts } from "@bulkhead/agent";
import { hostResolvers, MountAllowList, NameResponder } from "@bulkhead/host";
import { ContainerRuntime } from "@bulkhead/namespaces";

/** Opens the container runtime of this host, and answers names in its networks. */
const openRuntime = async ({ config, paths, images, scope }: RuntimeParts): Promise<ContainerRuntime> => {
  const { log } = scope;
  const mountAllowList = new MountAllowList(config.mountAllow);
  const runtime = await ContainerRuntime.open({
    paths,
    images,
    mountAllowList,
    hostNetwork: config.hostNetwork,
    log,
    cgroupParent: config.cgroupParent,
    readyProcesses: config.readyProcesses,
  });
  const forward = config.dnsForward ? hostResolvers() : null;
  scope.use("names", new NameResponder({ networks: runtime.networks, forward, log }));
  return runtime;
};

/** The agent that runs containers. */
export const containerNode: AgentKind = {
  name: "container-node",
  isolation: "container",
  powers: "makes namespaces and cgroups",
  openRuntime,
};
