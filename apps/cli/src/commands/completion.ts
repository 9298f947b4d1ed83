import { type Invocation, UsageError } from "../command.ts";
import { completionScript } from "../completion.ts";
import { contextPath, readContexts } from "../context-file.ts";

/** `bulkhead completion bash|zsh|fish` */
export const script = async (invocation: Invocation): Promise<void> => {
  const [shell = ""] = invocation.positionals;
  const text = completionScript(shell, invocation.commands);
  if (text === undefined) throw new UsageError(`There is no completion for ${shell}; there is for bash, zsh and fish.`);
  invocation.print(text);
};

const namesOf = async (invocation: Invocation, kind: string): Promise<readonly string[]> => {
  if (kind === "contexts") return Object.keys(readContexts(contextPath(invocation.environment)).contexts);
  const client = invocation.client();
  if (kind === "workloads") return (await Array.fromAsync(client.workloads.list())).map(({ name }) => name);
  if (kind === "hosts") return (await Array.fromAsync(client.hosts.list())).map(({ name }) => name);
  if (kind === "images") return (await Array.fromAsync(client.images.list())).flatMap(({ names }) => names);
  if (kind !== "instances") return [];
  const instances = await Array.fromAsync(client.instances.list());
  return [...new Set(instances.flatMap(({ name, workloadName }) => [workloadName, name]))];
};

/** Names for the shell, one a line. Nothing at all when the API cannot be asked: a completion must not print errors. */
export const names = async (invocation: Invocation): Promise<void> => {
  const found = await namesOf(invocation, invocation.positionals[0] ?? "").catch(() => []);
  invocation.print(found.map((name) => `${name}\n`).join(""));
};
