import { once } from "node:events";
import type { Run } from "../command.ts";
import { parseCount, parseDuration } from "../quantity.ts";
import { findInstance } from "./instances.ts";

/** An instant as it is, or a duration as so long ago. */
const sinceOf = (text: string): string =>
  /^[0-9]{4}-/.test(text) ? text : new Date(Date.now() - parseDuration(text, "since")).toISOString();

/** `bulkhead logs [-f] INSTANCE` */
export const run: Run = async (invocation) => {
  const { options, stdout, signal } = invocation;
  const client = invocation.client();
  const { name } = await findInstance(client, invocation.positionals[0] ?? "");
  const tail = options.text("tail");
  const since = options.text("since");
  const log = await client.instances.logs(name, {
    follow: options.flag("follow"),
    timestamps: options.flag("timestamps"),
    ...(tail === undefined ? {} : { tail: parseCount(tail, "tail") }),
    ...(since === undefined ? {} : { since: sinceOf(since) }),
    signal,
  });
  try {
    for await (const chunk of log) {
      if (!stdout.write(chunk)) await once(stdout, "drain");
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
};
