import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fleetError } from "@bulkhead/contracts";

export interface ServerCommand {
  /** for messages: "nats-server" */
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** each line of its output, for whoever supervises it */
  readonly onLine?: (line: string) => void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Lines kept for the message when it ends unasked. */
const tailLines = 20;
/** Between two looks at a condition; the condition has its own deadline. */
const pollMs = 15;

/** A server of somebody else's that we started: readiness, its last words, an orderly end. */
export class ServerProcess {
  readonly name: string;
  /** Settles when it has ended, whoever ended it; never rejects. */
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #tail: string[] = [];
  #exit: Exit | undefined;
  #startError: Error | undefined;

  constructor({ name, command, env, cwd, onLine }: ServerCommand) {
    const [file = "", ...args] = command;
    this.name = name;
    this.#child = spawn(file, args, {
      // Nothing of our environment: it may hold secrets, and locale or library settings that change what runs.
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8", ...env },
      ...(cwd === undefined ? {} : { cwd }),
      stdio: ["ignore", "pipe", "pipe"],
      // A session of its own: Ctrl-C in our terminal is for us, who then stop servers in order.
      detached: true,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on("line", (line) => {
        this.#tail.push(line);
        if (this.#tail.length > tailLines) this.#tail.shift();
        onLine?.(line);
      });
    }
    this.exited = new Promise((resolve) => {
      const end = (exit: Exit): void => {
        this.#exit = exit;
        resolve(exit);
      };
      this.#child.once("error", (error) => {
        this.#startError = error;
        end({ code: null, signal: null });
      });
      // "close" and not "exit": its last lines have been read by then.
      this.#child.once("close", (code, signal) => end({ code, signal }));
    });
  }

  /** Process id, or undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** Its last lines of output. */
  get tail(): string {
    return this.#tail.join("\n");
  }

  /**
   * Resolves when `check` does not throw any more. Throws SETUP_FAILED with its last lines when it ended or the
   * deadline (milliseconds) passed before.
   */
  async ready(check: () => Promise<unknown>, deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      this.#throwIfEnded();
      try {
        await check();
        return;
      } catch (cause) {
        this.#throwIfEnded();
        if (performance.now() > end) {
          const why = cause instanceof Error ? cause.message : String(cause);
          throw fleetError(
            "SETUP_FAILED",
            `${this.name} was not ready within ${deadlineMs} ms (${why}).${this.#lastWords()}`,
            { cause },
          );
        }
      }
      await delay(pollMs);
    }
  }

  /** Sends `signal`, waits at most `graceMs`, then SIGKILL. Resolves when it has ended; at once when it had already. */
  async stop(signal: NodeJS.Signals, graceMs: number): Promise<Exit> {
    if (this.#exit !== undefined) return this.#exit;
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  #throwIfEnded(): void {
    if (this.#startError !== undefined) {
      throw fleetError("SETUP_FAILED", `${this.name} could not be started: ${this.#startError.message}.`, {
        cause: this.#startError,
      });
    }
    if (this.#exit === undefined) return;
    const { code, signal } = this.#exit;
    throw fleetError(
      "SETUP_FAILED",
      `${this.name} ended with ${signal ?? `exit code ${code}`} while starting.${this.#lastWords()}`,
    );
  }

  #lastWords(): string {
    return this.#tail.length === 0 ? "" : ` Its last lines:\n${this.tail}`;
  }
}
