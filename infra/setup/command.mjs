import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./progress.mjs";
import { logDirectory, root } from "./paths.mjs";

/** How many lines of a failed command's output are shown; the log file has all of it. */
const shownLines = 25;

/** The end of an output, or its start for commands that end in their own usage. */
const excerpt = (text, from) => {
  const lines = text
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");
  return from === "start" ? lines.slice(0, shownLines) : lines.slice(-shownLines);
};

/**
 * Runs a command with its output in `build/setup/<log>.log`.
 * @param {{ what: string, remedy: string, log: string, command: string, args: string[], env?: Record<string, string | undefined>, cwd?: string, show?: "start" | "end" }} options
 * @returns {Promise<string>} its standard output and error
 * @throws {SetupError} when it cannot start or exits with another code than 0
 */
export const runLogged = async ({ what, remedy, log, command, args, env = {}, cwd = root, show = "end" }) => {
  mkdirSync(logDirectory, { recursive: true });
  const logFile = join(logDirectory, `${log}.log`);
  const file = createWriteStream(logFile);
  file.write(`$ ${command} ${args.join(" ")}\n`);
  let output = "";
  const ended = await new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
        file.write(text);
      });
    }
    child.once("error", (error) => resolve({ why: `${command} could not be started: ${error.message}` }));
    child.once("close", (code, signal) => {
      if (code === 0) resolve({});
      else
        resolve({ why: signal === null ? `${command} exited with code ${code}` : `${command} was ended by ${signal}` });
    });
  });
  await new Promise((resolve) => file.end(resolve));
  if (ended.why !== undefined)
    throw new SetupError({ what, why: ended.why, remedy, shown: excerpt(output, show), logFile });
  return output;
};

/**
 * Runs a command on this terminal.
 * @returns {Promise<number>} its exit code; 128 + signal when a signal ended it
 */
export const runShown = (command, args, { env = {}, cwd = root, stdio = "inherit" } = {}) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio });
    child.once("error", reject);
    child.once("close", (code, signal) =>
      resolve(signal === null ? (code ?? 1) : 128 + (signal === "SIGINT" ? 2 : 15)),
    );
  });

/**
 * Runs a command for its answer.
 * @returns {Promise<{ code: number, output: string }>} code 127 when there is no such command
 */
export const ask = (command, args, { env = {}, cwd = root } = {}) =>
  new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "ignore"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.once("error", () => resolve({ code: 127, output }));
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
