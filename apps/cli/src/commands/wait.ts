import type { Run } from "../command.ts";
import { StatusLine } from "../output.ts";
import { parseDuration } from "../quantity.ts";
import { runDefaults } from "../run-defaults.ts";
import { explain, findInstances } from "./instances.ts";

/** `bulkhead wait NAME… --for STATE` */
export const run: Run = async (invocation) => {
  const { options, signal } = invocation;
  const client = invocation.client();
  const state = options.text("for") ?? "running";
  const timeoutMs = parseDuration(options.text("timeout") ?? runDefaults.timeout, "timeout");
  const status = new StatusLine(invocation.stderr);
  const found = (await Promise.all(invocation.positionals.map((name) => findInstances(client, name)))).flat();
  try {
    await Promise.all(
      found.map(async ({ name, state: now }) => {
        if (now !== state) status.show(`Waiting for ${name} to be ${state}…`);
        const instance = await client.instances.wait(name, state, { timeoutMs, signal });
        status.clear();
        const why = explain(instance);
        invocation.print(`${name} ${instance.state}${why === "" ? "" : ` ${why}`}\n`);
      }),
    );
  } finally {
    status.clear();
  }
};
