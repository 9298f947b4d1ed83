import { constants } from "node:os";
import { pipeline } from "node:stream/promises";
import { isFleetError } from "@bulkhead/contracts/errors";
import { type Invocation, type Run, UsageError } from "../command.ts";
import { describeError, exitCodes } from "../failure.ts";
import { findInstance } from "./instances.ts";
import { parseEnvironment } from "./run.ts";

/** Signals passed on to a command without a terminal; a terminal sends Ctrl-C as a byte. */
const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

const sizeOf = (invocation: Invocation): { rows: number; columns: number } => ({
  rows: invocation.stdout.rows ?? 24,
  columns: invocation.stdout.columns ?? 80,
});

const converse = async (invocation: Invocation, command: readonly string[]): Promise<number> => {
  const { options, stdin, stdout, stderr } = invocation;
  const tty = options.flag("tty");
  const interactive = options.flag("interactive");
  if (tty && interactive && !stdin.isTTY) throw new UsageError("-t needs a terminal on standard input; leave it out.");
  const client = invocation.client();
  const { name } = await findInstance(client, invocation.positionals[0] ?? "");
  const user = options.text("user");
  const workingDir = options.text("workdir");
  const env = parseEnvironment(options.list("env"), invocation.environment);
  const stream = await client.instances.exec(name, {
    command,
    tty,
    ...(tty ? sizeOf(invocation) : {}),
    ...(user === undefined ? {} : { user }),
    ...(workingDir === undefined ? {} : { workingDir }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
  });
  using cleanup = new DisposableStack();
  const raw = tty && interactive;
  if (raw) {
    stdin.setRawMode(true);
    cleanup.defer(() => stdin.setRawMode(false));
  }
  if (tty) {
    const resize = (): void => stream.resize(sizeOf(invocation).rows, sizeOf(invocation).columns);
    stdout.on("resize", resize);
    cleanup.defer(() => stdout.off("resize", resize));
  }
  for (const name of forwarded) {
    const pass = (): void => stream.signal(constants.signals[name]);
    process.on(name, pass);
    cleanup.defer(() => process.off(name, pass));
  }
  if (interactive) {
    stdin.pipe(stream.stdin);
    // A command that ends before its input is used up must not keep this process waiting for the keyboard.
    cleanup.defer(() => {
      stdin.unpipe(stream.stdin);
      stdin.pause();
      stdin.unref?.();
    });
  } else {
    stream.stdin.end();
  }
  stream.stdin.on("error", () => undefined);
  await Promise.all([pipeline(stream.stdout, stdout, { end: false }), pipeline(stream.stderr, stderr, { end: false })]);
  const exit = await stream.ended;
  return exit.exitCode ?? 128 + (exit.signal ?? 0);
};

/** `bulkhead exec [-it] INSTANCE COMMAND…` ends with the command's exit code; 125 when it could not be started. */
export const run: Run = async (invocation) => {
  if (invocation.rest.length === 0)
    throw new UsageError("bulkhead exec needs a command: bulkhead exec INSTANCE COMMAND…");
  try {
    return await converse(invocation, invocation.rest);
  } catch (error) {
    if (!isFleetError(error) || (error.code !== "EXEC_FAILED" && error.code !== "HOST_UNREACHABLE")) throw error;
    invocation.say(describeError(error));
    return exitCodes.execFailed.code;
  }
};
