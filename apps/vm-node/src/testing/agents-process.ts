import { spawn } from "node:child_process";
import { join } from "node:path";
import { ToldProcess } from "@bulkhead/namespaces/testing/told-process";
import type { BothOrder } from "./both-agents.ts";

const program = join(import.meta.dirname, "both-agents.ts");

/** The process that both agents of a host are in. */
export type AgentsProcess = ToldProcess<BothOrder, { readonly output: string }>;

/** `network`: the network namespace's file. */
export const startAgents = (network: string): AgentsProcess =>
  new ToldProcess(
    spawn("nsenter", [`--net=${network}`, process.execPath, program], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    }),
  );
