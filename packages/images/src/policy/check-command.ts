import { spawn } from "node:child_process";
import { fleetError } from "@bulkhead/contracts";
import type { CheckCommand } from "./policy-file.ts";

const defaultTimeoutMs = 30_000;
/** What a command says is shown to whoever pulls, cut to this length. */
const maxSaidBytes = 2_000;
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Runs an operator's command with `subject` as JSON on its standard input. Only exit status 0 accepts; anything else,
 * also a crash, a time-out or a command that cannot be started, rejects with IMAGE_REFUSED saying which.
 */
export const runCheck = async (
  { argv, timeoutMs = defaultTimeoutMs }: CheckCommand,
  subject: object,
  signal: AbortSignal,
): Promise<void> => {
  signal.throwIfAborted();
  const [program = "", ...words] = argv;
  // In a process group of its own, so that what it started ends with it; no environment, so that it has no secret.
  const child = spawn(program, words, { cwd: "/", env: { PATH: path }, detached: true, stdio: "pipe" });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let said = "";
  const hear = (chunk: Buffer) => {
    said = (said + chunk.toString("utf8")).slice(0, maxSaidBytes);
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  // It may decide without reading.
  child.stdin.on("error", () => undefined);
  child.stdin.end(`${JSON.stringify(subject)}\n`);
  const end = (why: string) => {
    if (child.pid !== undefined) {
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended already.
      }
    }
    resolve(why);
  };
  const timer = setTimeout(() => end(`it did not decide within ${timeoutMs} ms`), timeoutMs);
  const aborted = () => end("the pull was given up");
  signal.addEventListener("abort", aborted, { once: true });
  child.once("error", (error) => resolve(`it could not be started: ${error.message}`));
  child.once("close", (code, killed) => {
    if (code === 0) resolve(undefined);
    else if (killed !== null) resolve(`it was ended by ${killed}`);
    else resolve(said.trim() === "" ? `it ended with status ${code}` : said.trim());
  });
  const why = await promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", aborted);
  });
  signal.throwIfAborted();
  if (why !== undefined)
    throw fleetError("IMAGE_REFUSED", `The image policy's command ${program} does not accept it: ${why}`);
};
