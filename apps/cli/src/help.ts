import type { Command, Option } from "./command.ts";
import { UsageError } from "./command.ts";
import { globalOptions } from "./parse.ts";
import { commandGroups, commands } from "./table/index.ts";

/** Columns that help text is wrapped to. */
const width = 100;

const wrap = (text: string, indent: number): string => {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line !== "" && indent + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
};

const listing = (rows: readonly (readonly [string, string])[]): string => {
  const left = Math.max(0, ...rows.map(([term]) => term.length)) + 4;
  return rows.map(([term, text]) => `  ${term.padEnd(left - 2)}${wrap(text, left)}\n`).join("");
};

/** `-m, --memory SIZE` */
export const optionTerm = ({ name, short, value }: Option): string =>
  `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;

/** `bulkhead run [OPTIONS] IMAGE [-- COMMAND…]` */
export const usageLine = ({ path, positionals, rest, options }: Command): string =>
  [
    "bulkhead",
    ...path,
    ...(options.length === 0 ? [] : ["[OPTIONS]"]),
    ...positionals.map(({ name, optional, many }) => {
      const text = `${name}${many === true ? "…" : ""}`;
      return optional === true ? `[${text}]` : text;
    }),
    ...(rest === undefined ? [] : [rest.after === "--" ? `[-- ${rest.name}…]` : `${rest.name}…`]),
  ].join(" ");

const commandHelp = (command: Command): string => {
  const below = commands.filter(
    ({ path, hidden }) =>
      hidden !== true && path.length === 2 && command.path.length === 1 && path[0] === command.path[0],
  );
  return [
    `${command.summary}.\n`,
    `Usage: ${usageLine(command)}\n`,
    ...(command.description === undefined ? [] : [`${wrap(command.description, 0)}\n`]),
    ...(below.length === 0
      ? []
      : [`Further:\n${listing(below.map((other) => [other.path.join(" "), other.summary] as const))}`]),
    ...(command.options.length === 0
      ? []
      : [`Options:\n${listing(command.options.map((option) => [optionTerm(option), option.description] as const))}`]),
    `Every command:\n${listing(globalOptions.map((option) => [optionTerm(option), option.description] as const))}`,
    ...(command.examples === undefined ? [] : [`Examples:\n${command.examples.map((line) => `  ${line}\n`).join("")}`]),
  ].join("\n");
};

const wholeHelp = (): string =>
  [
    "One fleet and one API for containers and microVMs.\n",
    "Usage: bulkhead COMMAND …\n",
    ...commandGroups.map(
      (group) =>
        `${group.title}:\n${listing(
          group.commands
            .filter(({ hidden }) => hidden !== true)
            .map((command) => [command.path.join(" "), command.summary] as const),
        )}`,
    ),
    `Every command:\n${listing(globalOptions.map((option) => [optionTerm(option), option.description] as const))}`,
    "`bulkhead COMMAND --help` says more; docs/cli.md has everything, exit codes too.\n",
  ].join("\n");

/** Help for a command, a group, or the whole program when no words are given. Throws UsageError. */
export const helpText = (words: readonly string[]): string => {
  if (words.length === 0) return wholeHelp();
  const command = commands.find(({ path }) => path.join(" ") === words.join(" "));
  if (command !== undefined) return commandHelp(command);
  throw new UsageError(`There is no command \`${words.join(" ")}\`. \`bulkhead help\` lists the commands.`);
};
