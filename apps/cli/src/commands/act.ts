import type { Client, InstanceAction } from "@bulkhead/client";
import { constants } from "node:os";
import { type Invocation, type Run, UsageError } from "../command.ts";
import { parseDuration } from "../quantity.ts";
import { runDefaults } from "../run-defaults.ts";
import { followOperation } from "./follow-operation.ts";
import { findInstances } from "./instances.ts";

/** Number of a signal given as `TERM`, `SIGTERM` or `15`. */
export const parseSignal = (text: string): number => {
  const number = /^[0-9]{1,2}$/.test(text)
    ? Number(text)
    : (constants.signals as Readonly<Record<string, number>>)[`SIG${text.toUpperCase().replace(/^SIG/, "")}`];
  if (number === undefined || number < 1 || number > 64)
    throw new UsageError(`--signal ${text}: there is no such signal.`);
  return number;
};

const bodyOf = (action: InstanceAction, invocation: Invocation): { graceMs?: number; signal?: number } | undefined => {
  const grace = invocation.options.text("grace");
  const signal = invocation.options.text("signal");
  if (action === "stop" && grace !== undefined) return { graceMs: parseDuration(grace, "grace") };
  if (action === "kill" && signal !== undefined) return { signal: parseSignal(signal) };
  return undefined;
};

const words: Readonly<Record<InstanceAction, { readonly doing: string; readonly done: string }>> = {
  stop: { doing: "Stopping", done: "stopped" },
  start: { doing: "Starting", done: "started" },
  restart: { doing: "Restarting", done: "restarted" },
  pause: { doing: "Pausing", done: "paused" },
  resume: { doing: "Resuming", done: "resumed" },
  kill: { doing: "Signalling", done: "signalled" },
};

const actOn = async (invocation: Invocation, client: Client, action: InstanceAction, name: string): Promise<void> => {
  const body = bodyOf(action, invocation);
  const operation = await client.instances.act(name, action, body);
  if (invocation.options.given("wait") !== false) {
    await followOperation(invocation, {
      doing: `${words[action].doing} ${name}`,
      operation,
      timeoutMs: parseDuration(invocation.options.text("timeout") ?? runDefaults.timeout, "timeout"),
      look: async (api) => (await api.instances.get(name)).state,
    });
  }
  invocation.print(`${name} ${words[action].done}\n`);
};

/** A command that does one thing to every instance named, or to all of a workload named. */
export const actionCommand =
  (action: InstanceAction): Run =>
  async (invocation) => {
    const client = invocation.client();
    const found = await Promise.all(invocation.positionals.map((name) => findInstances(client, name)));
    for (const { name } of found.flat()) await actOn(invocation, client, action, name);
  };
