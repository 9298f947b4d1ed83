import type { Event } from "@bulkhead/contracts";
import type { Run } from "../command.ts";
import { formatTable } from "../output.ts";
import { parseCount } from "../quantity.ts";

/** `data` of an event as `key=value` words. */
const words = (data: Event["data"]): string =>
  Object.entries(data)
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");

const line = (event: Event): string =>
  formatTable(
    [
      { title: "", value: () => String(event.id) },
      { title: "", value: () => event.at },
      { title: "", value: () => event.type.padEnd(20) },
      { title: "", value: () => words(event.data) },
    ],
    [event],
  )
    .split("\n")
    .slice(1)
    .join("\n");

/** `bulkhead events [-f]`: what happened until now, and with -f what happens next. */
export const run: Run = async (invocation) => {
  const { options } = invocation;
  const follow = options.flag("follow");
  const since = options.text("since");
  const types = options.list("type");
  const watch = invocation.client().events({
    ...(since === undefined ? (follow ? {} : { since: 0 }) : { since: parseCount(since, "since") }),
    ...(types.length === 0 ? {} : { types }),
    signal: invocation.signal,
    follow,
    onReconnect: () => invocation.say("events: connection lost, trying again"),
  });
  for await (const event of watch) {
    invocation.print(invocation.format === "table" ? line(event) : `${JSON.stringify(event)}\n`);
  }
};
