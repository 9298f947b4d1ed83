import { type Instance, fleetError } from "@bulkhead/contracts";
import type { AgentAddress } from "../ports.ts";

/** The agent that runs an instance. Throws STATE_CONFLICT while it is on no host. */
export const agentOf = ({ hostId, isolation, name, state }: Instance): AgentAddress => {
  if (hostId === null) throw fleetError("STATE_CONFLICT", `Instance ${name} is ${state} and on no host.`);
  return { hostId, isolation };
};
