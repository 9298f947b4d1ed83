import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { completionScript } from "./completion.ts";
import { commands } from "./table/index.ts";

const directory = mkdtempSync(join(tmpdir(), "bulkhead-completion-"));
const script = join(directory, "completion.bash");
writeFileSync(script, completionScript("bash", commands) ?? "");
// Stands for the command that the script asks for names.
writeFileSync(
  join(directory, "bulkhead"),
  '#!/bin/sh\n[ "$1" = __complete ] && printf "%s-one\\n%s-two\\n" "$2" "$2"\n',
);
chmodSync(join(directory, "bulkhead"), 0o755);
afterAll(() => rmSync(directory, { recursive: true }));

/** What bash offers when Tab is pressed at the end of the line. */
const offered = (line: string): string[] => {
  const words = line.split(" ");
  const program = `source ${script}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; compopt() { :; }; _bulkhead; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["--norc", "-c", program], {
    env: { PATH: `${directory}:/usr/bin:/bin` },
    cwd: directory,
  })
    .toString()
    .split("\n")
    .filter((word) => word !== "");
};

test("commands, and the words of a group", () => {
  expect(offered("bulkhead re")).toEqual(["restart", "resume", "resize", "registry"]);
  expect(offered("bulkhead images ")).toEqual(["import", "pull", "build", "inspect", "rm"]);
  expect(offered("bulkhead __")).toEqual([]);
});

test("names are asked from the API by what stands there", () => {
  expect(offered("bulkhead exec ")).toEqual(["instances-one", "instances-two"]);
  expect(offered("bulkhead run ")).toEqual(["images-one", "images-two"]);
  expect(offered("bulkhead hosts cordon hosts-t")).toEqual(["hosts-two"]);
});

test("options of the command and of every command, and their values", () => {
  expect(offered("bulkhead run --re")).toEqual(["--replicas", "--restart", "--read-only"]);
  expect(offered("bulkhead ps --pro")).toEqual(["--project"]);
  expect(offered("bulkhead ps -o ")).toEqual(["table", "json", "yaml"]);
  expect(offered("bulkhead run redis --restart on")).toEqual(["on-failure"]);
});

test("files where a file stands", () => {
  expect(offered("bulkhead images import compl")).toEqual(["completion.bash"]);
});

test("zsh and fish scripts name every command; another shell has none", () => {
  for (const shell of ["zsh", "fish"]) {
    const text = completionScript(shell, commands) ?? "";
    const missing = commands.filter(({ path, hidden }) => hidden !== true && !text.includes(path.at(-1) ?? ""));
    expect(missing).toEqual([]);
    expect(text).not.toContain("__complete'");
  }
  expect(completionScript("csh", commands)).toBeUndefined();
});
