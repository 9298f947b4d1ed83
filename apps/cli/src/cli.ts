import { createClient, curlOf } from "@bulkhead/client";
import type { Invocation, Surroundings } from "./command.ts";
import { chooseContext } from "./context-file.ts";
import { describeError, exitCodeOf, exitCodes } from "./failure.ts";
import { helpText } from "./help.ts";
import { parseCommandLine, type Parsed } from "./parse.ts";
import { printable } from "./printable.ts";
import { commands } from "./table/index.ts";

const invocationOf = (parsed: Parsed, surroundings: Surroundings): Invocation => {
  const { stdout, stderr, environment } = surroundings;
  const { options } = parsed;
  const client = (): ReturnType<Invocation["client"]> => {
    const context = chooseContext(environment, options.text("context"));
    const project = options.text("project") ?? environment["BULKHEAD_PROJECT"] ?? context.project;
    return createClient({
      url: context.url,
      token: context.token,
      ...(project === undefined ? {} : { project }),
      ...(options.flag("print-request") ? { onRequest: (request) => void stderr.write(`${curlOf(request)}\n`) } : {}),
    });
  };
  let made: ReturnType<typeof client> | undefined;
  return {
    ...surroundings,
    positionals: parsed.positionals,
    rest: parsed.rest,
    options,
    format: parsed.format ?? "table",
    commands,
    runLine: main,
    client: () => (made ??= client()),
    print: (text) => void stdout.write(text),
    say: (text) => void stderr.write(`${printable(text)}\n`),
  };
};

/** Runs one command line; resolves to its exit code and never rejects. */
export const main = async (argv: readonly string[], surroundings: Surroundings): Promise<number> => {
  const { stdout, stderr, signal } = surroundings;
  // `bulkhead ps | head` closes the pipe early, which is no failure.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.ok.code);
  });
  try {
    const parsed = parseCommandLine(commands, argv);
    if ("help" in parsed) {
      stdout.write(helpText(parsed.help));
      return exitCodes.ok.code;
    }
    const { run } = await parsed.command.load();
    return (await run(invocationOf(parsed, surroundings))) ?? exitCodes.ok.code;
  } catch (error) {
    if (signal.aborted) return exitCodes.interrupted.code;
    stderr.write(`${printable(describeError(error))}\n`);
    return exitCodeOf(error);
  }
};
