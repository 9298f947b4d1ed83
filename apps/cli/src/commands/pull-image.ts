import type { Operation } from "@bulkhead/contracts";
import type { Run } from "../command.ts";
import { UsageError } from "../command.ts";
import { printObject } from "../output.ts";
import { pullTimeout } from "../run-defaults.ts";
import { parseDuration } from "../quantity.ts";
import { followOperation } from "./follow-operation.ts";
import { pullBars } from "./pull-bars.ts";

/** `bulkhead images pull REFERENCE…` */
export const run: Run = async (invocation) => {
  const client = invocation.client();
  const name = invocation.options.text("name");
  if (name !== undefined && invocation.positionals.length > 1) {
    throw new UsageError("--name: one name cannot be several images'.");
  }
  for (const reference of invocation.positionals) {
    const operation = await client.images.pull({ reference, ...(name === undefined ? {} : { name }) });
    const waits = invocation.options.given("wait") !== false;
    const ended: Operation = waits
      ? await followOperation(invocation, {
          doing: `Pulling ${reference}`,
          operation,
          timeoutMs: parseDuration(invocation.options.text("timeout") ?? pullTimeout, "timeout"),
          look: async () => pullBars(await client.operations.get(operation.id)),
        })
      : operation;
    if (invocation.format !== "table") await printObject(invocation, ended);
    else if (waits) invocation.print(`${name ?? reference} pulled\n`);
    else invocation.print(`${operation.id}\n`);
  }
};
