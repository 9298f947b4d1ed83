import { exitCodes } from "./failure.ts";
import { optionTerm, usageLine } from "./help.ts";
import { globalOptions } from "./parse.ts";
import type { Command, Option } from "./command.ts";
import { commandGroups } from "./table/index.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

const optionTable = (options: readonly Option[]): string[] =>
  options.length === 0
    ? []
    : [
        "| option | meaning |",
        "|---|---|",
        ...options.map((option) => `| \`${cell(optionTerm(option).trim())}\` | ${cell(option.description)} |`),
        "",
      ];

const section = (command: Command): string[] => [
  `### bulkhead ${command.path.join(" ")}`,
  "",
  `${command.summary}.`,
  "",
  "```",
  usageLine(command),
  "```",
  "",
  ...(command.description === undefined ? [] : [command.description, ""]),
  ...optionTable(command.options),
  ...(command.examples === undefined ? [] : ["```sh", ...command.examples, "```", ""]),
];

/** docs/cli.md, whole. */
export const commandDocs = (): string =>
  [
    "# The command line",
    "",
    "Made from the command table (`apps/cli/src/table`) by `npm run docs`; do not edit.",
    "",
    "`bulkhead COMMAND --help` says the same. Sizes are bytes with `Ki Mi Gi Ti` (powers of 1024) or `K M G T` (powers of 1000); CPUs are `0.5`, `2` or `500m`; durations `500ms`, `30s`, `5m`, `1h`.",
    "",
    "Every command takes:",
    "",
    ...optionTable(globalOptions),
    "The API and its token come from the current context (`bulkhead context`; `up` makes one), or from `BULKHEAD_URL` and `BULKHEAD_TOKEN`. `BULKHEAD_PROJECT` names the project, `BULKHEAD_CONTEXT_FILE` another context file.",
    "",
    ...commandGroups.flatMap(({ title, commands }) => [
      `## ${title}`,
      "",
      ...commands.filter(({ hidden }) => hidden !== true).flatMap(section),
    ]),
    "## Exit codes",
    "",
    "| code | meaning |",
    "|---|---|",
    ...Object.values(exitCodes).map(({ code, meaning }) => `| ${code} | ${meaning} |`),
    "",
  ].join("\n");
