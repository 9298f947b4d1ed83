import type { Client } from "@bulkhead/client";

/** Names the shell can complete: asked from the API, or a fixed list. */
export type Completion = "instances" | "workloads" | "images" | "hosts" | "contexts" | "files" | readonly string[];

export interface Option {
  /** long name without dashes */
  readonly name: string;
  readonly short?: string;
  /** what the value is called in help; absent for a switch */
  readonly value?: string;
  readonly multiple?: boolean;
  readonly description: string;
  readonly complete?: Completion;
}

export interface Positional {
  readonly name: string;
  readonly optional?: boolean;
  readonly many?: boolean;
  readonly complete?: Completion;
}

/** One row of the command table: help, completion and docs/cli.md are made from it. */
export interface Command {
  /** words typed after `bulkhead` */
  readonly path: readonly string[];
  readonly summary: string;
  /** paragraphs for `help` and the docs */
  readonly description?: string;
  readonly positionals: readonly Positional[];
  /** name of what may follow the positionals (`COMMAND…`); `"--"` needs the two dashes, `"path"` takes options too */
  readonly rest?: { readonly name: string; readonly after: "--" | "positionals" | "path" };
  readonly options: readonly Option[];
  readonly examples?: readonly string[];
  /** works without an API */
  readonly local?: boolean;
  /** left out of help, docs and completion */
  readonly hidden?: boolean;
  /** the code, loaded only when the command is used */
  readonly load: () => Promise<{ readonly run: Run }>;
}

export type OutputFormat = "table" | "json" | "yaml";

/** What a command may use of the world; tests give their own. */
export interface Surroundings {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** aborted by Ctrl-C */
  readonly signal: AbortSignal;
}

export interface Invocation extends Surroundings {
  readonly positionals: readonly string[];
  readonly rest: readonly string[];
  readonly options: OptionValues;
  readonly format: OutputFormat;
  /** the table this command is a row of */
  readonly commands: readonly Command[];
  /** runs another command line to its end and answers its exit code */
  readonly runLine: (words: readonly string[], surroundings: Surroundings) => Promise<number>;
  /** client of the chosen context; throws UsageError when there is none */
  readonly client: () => Client;
  readonly print: (text: string) => void;
  /** a line for people: standard error, so that output can be piped */
  readonly say: (text: string) => void;
}

/** Exit code; nothing means 0. */
export type Run = (invocation: Invocation) => Promise<number | void>;

/** Values as the user typed them. */
export class OptionValues {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  /** undefined when neither `--name` nor `--no-name` was given */
  given(name: string): boolean | undefined {
    const value = this.#values[name];
    return typeof value === "boolean" ? value : undefined;
  }

  flag(name: string): boolean {
    return this.given(name) ?? false;
  }

  list(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.map(String) : [];
  }
}

/** The command line itself is wrong; printed with a hint and exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
