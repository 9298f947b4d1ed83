import { once } from "node:events";

/** A set-up step that failed: what, why, what to do, and a piece of its output. Printed without a stack. */
export class SetupError extends Error {
  /** @param {{ what: string, why: string, remedy: string, shown?: string[], logFile?: string }} failure */
  constructor(failure) {
    super(`${failure.what}: ${failure.why}`);
    this.name = "SetupError";
    this.failure = failure;
  }
}

/** Text a person can act on. */
export const describeFailure = ({ what, why, remedy, shown = [], logFile }) =>
  [
    "",
    `${what} failed.`,
    `  why:        ${why}`,
    `  what to do: ${remedy}`,
    ...(shown.length === 0 ? [] : ["  its output:", ...shown.map((line) => `    ${line}`)]),
    ...(logFile === undefined ? [] : [`  whole output: ${logFile}`]),
    "",
  ].join("\n");

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/**
 * Progress on standard error, so that standard output stays the command's own. A terminal gets one line per step that
 * counts the seconds; a log gets a line at the start of a step and one at its end.
 */
export const createProgress = (stream = process.stderr, now = () => Date.now()) => {
  const live = stream.isTTY;
  const clear = live ? "\r\u001b[2K" : "";
  return {
    /** A line between steps. */
    note(text) {
      stream.write(`${clear}  ${text}\n`);
    },
    /**
     * Runs `work`, which may return a short remark for the closing line. `quiet` steps show nothing unless they last.
     * @template T
     * @param {string} title
     * @param {(say: (text: string) => void) => Promise<T>} work
     */
    async step(title, work) {
      const started = now();
      let doing = title;
      const draw = () => stream.write(`${clear}  … ${doing} (${seconds(now() - started)})`);
      let timer;
      if (live) {
        draw();
        timer = setInterval(draw, 500);
        timer.unref();
      } else {
        stream.write(`  … ${title}\n`);
      }
      try {
        const remark = await work((text) => {
          doing = `${title}: ${text}`;
          if (live) draw();
          else stream.write(`    ${text}\n`);
        });
        const tail = typeof remark === "string" ? `: ${remark}` : "";
        stream.write(`${clear}  ✓ ${title}${tail} (${seconds(now() - started)})\n`);
        return remark;
      } catch (error) {
        stream.write(`${clear}  ✗ ${title} (${seconds(now() - started)})\n`);
        throw error;
      } finally {
        clearInterval(timer);
      }
    },
  };
};

/** Runs a bootstrap command: prints a SetupError for people, anything else with its stack, and sets the exit code. */
export const runMain = async (main) => {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    process.stderr.write(error instanceof SetupError ? describeFailure(error.failure) : `${error.stack}\n`);
    process.exitCode = 1;
  }
  // A pipe may still hold the last line; exiting first would lose it.
  for (const stream of [process.stdout, process.stderr]) if (stream.writableNeedDrain) await once(stream, "drain");
};
