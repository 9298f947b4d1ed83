import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commandDocs } from "./docs.ts";
import { helpText } from "./help.ts";
import { globalOptions } from "./parse.ts";
import { commands } from "./table/index.ts";

test("docs/cli.md is what the command table says", () => {
  expect(readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8")).toBe(commandDocs());
});

test("every command can be loaded, has help, and is in the whole program's help", async () => {
  const whole = helpText([]);
  for (const command of commands) {
    expect(typeof (await command.load()).run).toBe("function");
    expect(helpText(command.path)).toContain(command.summary);
  }
  const shown = commands.filter(({ hidden }) => hidden !== true);
  expect(shown.filter(({ summary }) => !whole.includes(summary))).toEqual([]);
});

test("no command uses an option name or letter twice", () => {
  const twice = (words: readonly string[]): string[] => words.filter((word, at) => words.indexOf(word) !== at);
  const clashes = commands.map(({ path, options }) => {
    const all = [...options, ...globalOptions];
    return { path, twice: [...twice(all.map(({ name }) => name)), ...twice(all.flatMap(({ short }) => short ?? []))] };
  });
  expect(clashes.filter((clash) => clash.twice.length > 0)).toEqual([]);
});

test("help for something unknown is refused", () => {
  expect(() => helpText(["nothing"])).toThrow("There is no command `nothing`");
});
