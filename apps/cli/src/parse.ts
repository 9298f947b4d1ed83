import { parseArgs, type ParseArgsConfig } from "node:util";
import { type Command, type Option, OptionValues, type OutputFormat, UsageError } from "./command.ts";
import { nearest } from "./nearest.ts";

/** Options every command takes. */
export const globalOptions: readonly Option[] = [
  {
    name: "output",
    short: "o",
    value: "FORMAT",
    description: "table, json or yaml",
    complete: ["table", "json", "yaml"],
  },
  { name: "project", value: "NAME", description: "project to act in (default: the context's)" },
  { name: "context", value: "NAME", description: "context to use (default: the current one)", complete: "contexts" },
  { name: "print-request", description: "show each API request as a curl command on standard error, and make it" },
  { name: "help", short: "h", description: "show help" },
];

export interface Parsed {
  readonly command: Command;
  readonly positionals: readonly string[];
  readonly rest: readonly string[];
  readonly options: OptionValues;
  readonly format: OutputFormat | undefined;
}

/** What to show instead of running anything. */
export interface HelpWanted {
  /** words of a command or group; empty for the whole program */
  readonly help: readonly string[];
}

const takesValue = (options: readonly Option[], argument: string): boolean => {
  const option = argument.startsWith("--")
    ? options.find(({ name }) => `--${name}` === argument)
    : options.find(({ short }) => short !== undefined && argument.endsWith(short));
  return option?.value !== undefined;
};

/** Index of the first argument that is neither an option nor an option's value. */
const firstPositional = (options: readonly Option[], argv: readonly string[]): number => {
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? "";
    if (argument === "--" || argument === "-" || !argument.startsWith("-")) return index;
    if (!argument.includes("=") && takesValue(options, argument)) index += 1;
  }
  return argv.length;
};

const startsWith = (path: readonly string[], words: readonly string[]): boolean =>
  words.length <= path.length && words.every((word, index) => path[index] === word);

/** The longest command that the words begin with; a group without a further word means its `list` or `show`. */
const findCommand = (commands: readonly Command[], words: readonly string[]): Command | undefined =>
  [2, 1]
    .filter((length) => length <= words.length)
    .map((length) => commands.find(({ path }) => path.length === length && startsWith(path, words.slice(0, length))))
    .find((command) => command !== undefined);

const unknownCommand = (commands: readonly Command[], words: readonly string[]): UsageError => {
  const typed = words.join(" ");
  const known = commands.filter(({ hidden }) => hidden !== true).map(({ path }) => path.join(" "));
  const guess = nearest(typed, known) ?? nearest(words[0] ?? "", known);
  const hint = guess === undefined ? "`bulkhead help` lists the commands." : `Did you mean \`bulkhead ${guess}\`?`;
  return new UsageError(`There is no command \`${typed}\`. ${hint}`);
};

const parserOptions = (options: readonly Option[]): NonNullable<ParseArgsConfig["options"]> =>
  Object.fromEntries(
    options.map(({ name, short, value, multiple }) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        ...(short === undefined ? {} : { short }),
        ...(multiple === true ? { multiple } : {}),
      },
    ]),
  );

const optionError = (error: unknown, options: readonly Option[]): UsageError => {
  const message = error instanceof Error ? (error.message.split(". To specify")[0] ?? error.message) : String(error);
  const unknown = /^Unknown option '(-[^']*)'/.exec(message)?.[1];
  const guess =
    unknown === undefined
      ? undefined
      : nearest(
          unknown,
          options.map(({ name }) => `--${name}`),
        );
  const hint = guess === undefined ? "" : ` Did you mean ${guess}?`;
  return new UsageError(`${message.replace(/\.?$/, ".")}${hint}`);
};

const formatOf = (text: string | undefined): OutputFormat | undefined => {
  if (text === undefined || text === "table" || text === "json" || text === "yaml") return text;
  throw new UsageError(`-o ${text}: use table, json or yaml.`);
};

const checkPositionals = (command: Command, given: readonly string[]): void => {
  const name = `bulkhead ${command.path.join(" ")}`;
  const required = command.positionals.filter(({ optional }) => optional !== true);
  const missing = required[given.length];
  if (missing !== undefined) throw new UsageError(`${name} needs ${missing.name}. See \`${name} --help\`.`);
  const open = command.positionals.some(({ many }) => many === true);
  const extra = open ? undefined : given[command.positionals.length];
  if (extra === undefined) return;
  const hint = command.rest?.after === "--" ? ` A command for the instance comes after \`--\`.` : "";
  throw new UsageError(`${name} does not take \`${extra}\`.${hint}`);
};

/** Reads a command line by the command table. Throws UsageError saying what is wrong and what was probably meant. */
export const parseCommandLine = (commands: readonly Command[], argv: readonly string[]): Parsed | HelpWanted => {
  const start = firstPositional(globalOptions, argv);
  const words = argv.slice(start, start + 2);
  const leading = argv.slice(0, start);
  if (words.length === 0 || words[0] === "help" || words[0] === "--") {
    if (leading.some((option) => option !== "-h" && option !== "--help")) {
      throw new UsageError(`${leading.join(" ")}: name a command first; \`bulkhead help\` lists them.`);
    }
    return { help: argv.slice(start + 1) };
  }
  const command = findCommand(
    commands,
    words.filter((word) => !word.startsWith("-")),
  );
  if (command === undefined) {
    const group = commands.some(({ path }) => path[0] === words[0]);
    if (group && argv.some((word) => word === "-h" || word === "--help")) return { help: words.slice(0, 1) };
    throw unknownCommand(
      commands,
      words.filter((word) => !word.startsWith("-")),
    );
  }
  const options = [...command.options, ...globalOptions];
  let args = [...leading, ...argv.slice(start + command.path.length)];
  let rest: readonly string[] = [];
  if (command.rest?.after === "path") {
    rest = args.slice(leading.length);
    args = args.slice(0, leading.length);
  } else if (command.rest?.after === "positionals") {
    let end = 0;
    for (let found = 0; found < command.positionals.length; found += 1) {
      end += firstPositional(options, args.slice(end));
      if (end < args.length && args[end] !== "--") end += 1;
    }
    // Options may also stand between the last positional and the command.
    end += firstPositional(options, args.slice(end));
    rest = args.slice(args[end] === "--" ? end + 1 : end);
    args = args.slice(0, end);
  } else if (command.rest !== undefined && args.includes("--")) {
    rest = args.slice(args.indexOf("--") + 1);
    args = args.slice(0, args.indexOf("--"));
  }
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args, options: parserOptions(options), allowPositionals: true, allowNegative: true });
  } catch (error) {
    throw optionError(error, options);
  }
  const values = new OptionValues(parsed.values);
  if (values.flag("help")) return { help: command.path };
  checkPositionals(command, parsed.positionals);
  return { command, positionals: parsed.positionals, rest, options: values, format: formatOf(values.text("output")) };
};
