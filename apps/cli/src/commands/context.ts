import { readFileSync } from "node:fs";
import { type Invocation, UsageError } from "../command.ts";
import { contextPath, readContexts, withContext, withoutContext, writeContexts } from "../context-file.ts";
import { printList } from "../output.ts";

/** `bulkhead context`: every context, the current one marked; tokens are never shown. */
export const list = async (invocation: Invocation): Promise<void> => {
  const file = readContexts(contextPath(invocation.environment));
  const rows = Object.entries(file.contexts).map(([name, { url, project }]) => ({
    name,
    url,
    project: project ?? null,
    current: name === file.current,
  }));
  await printList(
    invocation,
    [
      { title: "", value: ({ current }) => (current ? "*" : "") },
      { title: "CONTEXT", value: ({ name }) => name },
      { title: "URL", value: ({ url }) => url },
      { title: "PROJECT", value: ({ project }) => project ?? "default" },
    ],
    rows,
  );
};

const readToken = (invocation: Invocation): string => {
  const file = invocation.options.text("token-file");
  if (file === undefined)
    throw new UsageError("Name the file that holds the token: --token-file FILE (- for standard input).");
  const token = readFileSync(file === "-" ? 0 : file, "utf8").trim();
  if (token === "") throw new UsageError(`--token-file ${file}: it is empty.`);
  return token;
};

/** `bulkhead context set NAME --url URL --token-file FILE` */
export const set = async (invocation: Invocation): Promise<void> => {
  const [name = ""] = invocation.positionals;
  const url = invocation.options.text("url");
  if (url === undefined || !URL.canParse(url))
    throw new UsageError("--url: write the API's address, such as https://fleet.example:7480.");
  const project = invocation.options.text("project");
  const context = { url, token: readToken(invocation), ...(project === undefined ? {} : { project }) };
  const path = contextPath(invocation.environment);
  writeContexts(path, withContext(readContexts(path), name, context, { use: true }));
  invocation.print(`${name} is now the current context\n`);
};

const existing = (invocation: Invocation): { path: string; name: string } => {
  const [name = ""] = invocation.positionals;
  const path = contextPath(invocation.environment);
  if (readContexts(path).contexts[name] === undefined) throw new UsageError(`There is no context \`${name}\`.`);
  return { path, name };
};

/** `bulkhead context use NAME` */
export const use = async (invocation: Invocation): Promise<void> => {
  const { path, name } = existing(invocation);
  writeContexts(path, { ...readContexts(path), current: name });
  invocation.print(`${name} is now the current context\n`);
};

/** `bulkhead context rm NAME` */
export const remove = async (invocation: Invocation): Promise<void> => {
  const { path, name } = existing(invocation);
  writeContexts(path, withoutContext(readContexts(path), name));
  invocation.print(`${name} removed\n`);
};
