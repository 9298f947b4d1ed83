import { runAgent } from "@bulkhead/agent";
import { containerNode } from "./app.ts";

await runAgent(containerNode);
