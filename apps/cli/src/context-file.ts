import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { Surroundings } from "./command.ts";
import { UsageError } from "./command.ts";

/** One API the command line knows: its address, the token and the project used when none is named. */
export interface Context {
  readonly url: string;
  readonly token: string;
  readonly project?: string;
}

export interface ContextFile {
  readonly current: string | null;
  readonly contexts: Readonly<Record<string, Context>>;
}

type Environment = Surroundings["environment"];

/** `$BULKHEAD_CONTEXT_FILE`, or `bulkhead/context.json` below `$XDG_CONFIG_HOME` or `~/.config`. */
export const contextPath = (environment: Environment): string =>
  environment["BULKHEAD_CONTEXT_FILE"] ??
  join(environment["XDG_CONFIG_HOME"] ?? join(environment["HOME"] ?? homedir(), ".config"), "bulkhead", "context.json");

/** What the file says; empty when there is none. Throws UsageError when it cannot be read. */
export const readContexts = (path: string): ContextFile => {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ContextFile;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { current: null, contexts: {} };
    throw new UsageError(
      `${path} cannot be read (${error instanceof Error ? error.message : String(error)}). Mend or remove it.`,
    );
  }
};

/** Writes the file whole, readable by its owner alone: it holds tokens. */
export const writeContexts = (path: string, file: ContextFile): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  renameSync(draft, path);
};

/** The file with one context added or replaced; it becomes the current one when asked, or when there was none. */
export const withContext = (
  file: ContextFile,
  name: string,
  context: Context,
  { use }: { readonly use: boolean },
): ContextFile => ({
  current: use || file.current === null ? name : file.current,
  contexts: { ...file.contexts, [name]: context },
});

/** The file without a context. */
export const withoutContext = (file: ContextFile, name: string): ContextFile => ({
  current: file.current === name ? null : file.current,
  contexts: Object.fromEntries(Object.entries(file.contexts).filter(([other]) => other !== name)),
});

/**
 * The context to use: `BULKHEAD_URL` with `BULKHEAD_TOKEN`, else the named one, else the current one. Throws UsageError
 * saying how to get one.
 */
export const chooseContext = (environment: Environment, name: string | undefined): Context => {
  const { BULKHEAD_URL: url, BULKHEAD_TOKEN: token } = environment;
  if (name === undefined && url !== undefined) {
    if (token === undefined) throw new UsageError("BULKHEAD_URL is set but BULKHEAD_TOKEN is not.");
    return { url, token };
  }
  const path = contextPath(environment);
  const file = readContexts(path);
  const wanted = name ?? file.current;
  if (wanted === null) {
    throw new UsageError(
      "No API is known. On the fleet's machine start it with `npm run up` as root; elsewhere run `bulkhead context set NAME --url URL --token-file FILE`.",
    );
  }
  const context = file.contexts[wanted];
  if (context === undefined) {
    const known = Object.keys(file.contexts).join(", ");
    throw new UsageError(`There is no context \`${wanted}\` in ${path}${known === "" ? "" : ` (there is: ${known})`}.`);
  }
  return context;
};
