import type { Run } from "../command.ts";
import { parseDuration } from "../quantity.ts";
import { runDefaults } from "../run-defaults.ts";
import { followOperation } from "./follow-operation.ts";

/** `bulkhead rm WORKLOAD…` */
export const run: Run = async (invocation) => {
  const client = invocation.client();
  const grace = invocation.options.text("grace");
  for (const name of invocation.positionals) {
    const operation = await client.workloads.remove(
      name,
      grace === undefined ? undefined : parseDuration(grace, "grace"),
    );
    if (invocation.options.given("wait") !== false) {
      await followOperation(invocation, {
        doing: `Removing ${name}`,
        operation,
        timeoutMs: parseDuration(invocation.options.text("timeout") ?? runDefaults.timeout, "timeout"),
      });
    }
    invocation.print(`${name} removed\n`);
  }
};
