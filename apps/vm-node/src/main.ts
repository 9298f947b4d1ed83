import { runAgent } from "@bulkhead/agent";
import { vmNode } from "./app.ts";

await runAgent(vmNode);
