import { subjects } from "@bulkhead/contracts";
import type { Bus } from "@bulkhead/bus";
import type { AgentCommands } from "./ports.ts";

/** Commands to agents as requests on the bus. */
export const busCommands = (bus: Pick<Bus, "request">): AgentCommands => ({
  exec: async (agent, command) => {
    await bus.request(subjects.openExec, agent, command);
  },
  logs: async (agent, command) => {
    await bus.request(subjects.openLogs, agent, command);
  },
  signal: async (agent, command) => {
    await bus.request(subjects.signal, agent, command);
  },
  applyShares: (agent, command) => bus.request(subjects.applyShares, agent, command),
  removeShare: async (agent, command) => {
    await bus.request(subjects.removeShare, agent, command);
  },
  view: (agent, command) => bus.request(subjects.view, agent, command),
});
