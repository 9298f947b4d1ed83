import { rm } from "node:fs/promises";
import { join } from "node:path";
import { NatsServer } from "@bulkhead/bus";
import { TestDirectory, testUser } from "./directory.ts";

export interface NatsTestOptions {
  /** default true */
  readonly jetStream?: boolean;
}

/** A real nats-server of one test file: temporary directory, any free port, JetStream on unless said otherwise. */
export class TestNats implements AsyncDisposable {
  readonly server: NatsServer;
  readonly #directory: TestDirectory;

  private constructor(server: NatsServer, directory: TestDirectory) {
    this.server = server;
    this.#directory = directory;
  }

  static async start(options: NatsTestOptions): Promise<TestNats> {
    const directory = await TestDirectory.make("nats");
    const server = new NatsServer({
      ...testUser,
      directory: join(directory.path, "nats"),
      serverName: "test",
      port: -1,
      jetStream: options.jetStream ?? true,
    });
    const nats = new TestNats(server, directory);
    try {
      await server.start();
    } catch (error) {
      await nats[Symbol.asyncDispose]();
      throw error;
    }
    return nats;
  }

  /** The same before and after a restart. */
  get url(): string {
    return this.server.url;
  }

  /** kill -9; clients reconnect after `restart`. */
  kill(): Promise<void> {
    return this.server.kill();
  }

  /** `wipe`: as a machine whose disk was replaced, without any stream. */
  async restart(options: { wipe?: boolean } = {}): Promise<void> {
    await this.server.kill();
    if (options.wipe === true) {
      await rm(join(this.#directory.path, "nats/jetstream"), { recursive: true, force: true });
    }
    await this.server.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}

/** Starts a NATS server for a test file; `await using nats = await startNats()`. */
export const startNats = (options: NatsTestOptions = {}): Promise<TestNats> => TestNats.start(options);
