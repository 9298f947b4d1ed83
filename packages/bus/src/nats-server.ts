import { chown, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { confine } from "./confinement.ts";
import { natsServerConfig, type NatsServerSettings } from "./nats-config.ts";
import { ServerProcess } from "./server-process.ts";
import { systemUser, type SystemUser } from "./system-user.ts";

export interface NatsServerOptions extends Omit<NatsServerSettings, "portsDir" | "jetStreamDir"> {
  /** made if absent: `nats.conf`, `jetstream/`, `ports/` */
  readonly directory: string;
  readonly jetStream: boolean;
  /** system user to run as; needed when we are root */
  readonly user?: string;
  /** words before the command instead of our own confinement */
  readonly prefix?: readonly string[];
  /** file of the server (default `nats-server` on PATH) */
  readonly binary?: string;
  readonly onLine?: (line: string) => void;
}

const startMs = 15_000;
/** Streams are flushed at shutdown. */
const stopMs = 15_000;
/** Go's collector keeps the heap below this where it can; the idle server needs about 20 MiB. */
const memoryTarget = "96MiB";

/** A real nats-server of this machine, with its own configuration file and directory. */
export class NatsServer implements AsyncDisposable {
  readonly #options: NatsServerOptions;
  #process: ServerProcess | undefined;
  #port: number;

  constructor(options: NatsServerOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  /** `nats://address:port`; after the first start also when the port was chosen by the system. */
  get url(): string {
    return `nats://${this.#options.host ?? "127.0.0.1"}:${this.#port}`;
  }

  /** The running process; undefined before start() and after stop(). */
  get process(): ServerProcess | undefined {
    return this.#process;
  }

  /** Writes the configuration, starts the server and resolves when it accepts clients. Throws SETUP_FAILED. */
  async start(): Promise<void> {
    const { directory, jetStream, user, prefix, binary = "nats-server", onLine, ...settings } = this.#options;
    const owner = user === undefined ? undefined : await systemUser(user);
    const portsDir = join(directory, "ports");
    const jetStreamDir = join(directory, "jetstream");
    const configFile = join(directory, "nats.conf");
    // A port that was told by a server that was killed is not ours.
    await rm(portsDir, { recursive: true, force: true });
    for (const path of [directory, portsDir, jetStreamDir]) await makeDirectory(path, owner);
    const text = natsServerConfig({
      ...settings,
      port: this.#port,
      portsDir,
      ...(jetStream ? { jetStreamDir } : {}),
    });
    await writeFile(configFile, text, { mode: 0o600 });
    if (owner !== undefined) await chown(configFile, owner.uid, owner.gid);
    const before = prefix ?? confine(owner === undefined ? {} : { user: owner });
    const server = new ServerProcess({
      name: "nats-server",
      command: [...before, binary, "--config", configFile],
      cwd: directory,
      env: { GOMEMLIMIT: memoryTarget },
      ...(onLine === undefined ? {} : { onLine }),
    });
    this.#process = server;
    try {
      await server.ready(async () => {
        if (this.#port < 0) this.#port = await toldPort(portsDir, server.pid);
        await this.health();
      }, startMs);
    } catch (error) {
      await server.stop("SIGKILL", 0);
      this.#process = undefined;
      throw error;
    }
  }

  /** Rejects unless a server greets on the port. */
  async health(): Promise<void> {
    await greeting(this.#options.host ?? "127.0.0.1", this.#port);
  }

  async stop(): Promise<void> {
    await this.#process?.stop("SIGTERM", stopMs);
    this.#process = undefined;
  }

  /** As a crash ends it: kill -9. start() brings it back on the same port with the same directory. */
  async kill(): Promise<void> {
    await this.#process?.stop("SIGKILL", 0);
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const makeDirectory = async (path: string, owner: SystemUser | undefined): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (owner !== undefined) await chown(path, owner.uid, owner.gid);
};

/** The server writes `<its name>_<pid>.ports` when `ports_file_dir` is set. */
const toldPort = async (portsDir: string, pid: number | undefined): Promise<number> => {
  const ports = JSON.parse(await readFile(join(portsDir, `nats-server_${pid}.ports`), "utf8")) as { nats: string[] };
  return Number(new URL(ports.nats[0] ?? "").port);
};

/** A NATS server speaks first: one line that starts with INFO. */
const greeting = (host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 2_000 });
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      text += chunk;
      if (text.length < 6) return;
      if (text.startsWith("INFO {")) resolve();
      else reject(new Error("what listens there is no NATS server"));
      socket.destroy();
    });
    socket.once("timeout", () => socket.destroy(new Error("no greeting within 2 s")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed without a greeting")));
  });
