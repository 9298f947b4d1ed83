export { AgentConfig } from "./agent-config.ts";
export { type AgentKind, type RuntimeParts, runAgent } from "./agent-service.ts";
export type { AgentRuntime } from "./start-agent.ts";
