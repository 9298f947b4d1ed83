import { rm } from "node:fs/promises";
import { join } from "node:path";
import {
  createControlKeys,
  hostInboxPrefix,
  makeUserKey,
  mintHostUser,
  NatsServer,
  readCredential,
  readSigner,
  type ConnectOptions,
  type ControlKeys,
} from "@bulkhead/bus";
import type { HostId, Isolation } from "@bulkhead/contracts";
import { TestDirectory, testUser } from "./directory.ts";

export interface NatsTestOptions {
  /** default true */
  readonly jetStream?: boolean;
  /** operator mode with the keys `up` makes, so that only credentials get in; default false: anyone may do anything */
  readonly keys?: boolean;
}

/** What connectBus() takes, without the log. */
export type TestCredential = Omit<ConnectOptions, "log">;

/** A real nats-server of one test file: temporary directory, any free port, JetStream on unless said otherwise. */
export class TestNats implements AsyncDisposable {
  readonly server: NatsServer;
  readonly #keys: ControlKeys | undefined;
  readonly #directory: TestDirectory;

  private constructor(server: NatsServer, keys: ControlKeys | undefined, directory: TestDirectory) {
    this.server = server;
    this.#keys = keys;
    this.#directory = directory;
  }

  static async start(options: NatsTestOptions): Promise<TestNats> {
    const directory = await TestDirectory.make("nats");
    const keys = options.keys === true ? await createControlKeys(join(directory.path, "keys")) : undefined;
    const server = new NatsServer({
      ...testUser,
      directory: join(directory.path, "nats"),
      serverName: "test",
      port: -1,
      jetStream: options.jetStream ?? true,
      ...(keys === undefined ? {} : { trust: keys.trust }),
    });
    const nats = new TestNats(server, keys, directory);
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

  /** The keys of a server started with `keys`. */
  get keys(): ControlKeys {
    if (this.#keys === undefined) throw new Error("this server was started without keys");
    return this.#keys;
  }

  /** For connectBus(): who a service is to a server with keys, or just a name to one without. */
  async service(name: "scheduler" | "metrics"): Promise<TestCredential> {
    if (this.#keys === undefined) return { url: this.url, name };
    return { url: this.url, name, ...(await readCredential(this.#keys[name])) };
  }

  /** For connectBus(): a host that just joined. */
  async host(hostId: HostId, isolation: Isolation = "container"): Promise<TestCredential> {
    const agent = { url: this.url, name: `${isolation}-node`, inboxPrefix: hostInboxPrefix(hostId, isolation) };
    if (this.#keys === undefined) return agent;
    const { publicKey, seed } = makeUserKey();
    const signer = await readSigner(this.#keys.scheduler.hostSignerFile);
    return { ...agent, seed, jwt: mintHostUser({ signer, publicKey, hostId, isolation }) };
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

/** Starts a NATS server for a test file; `await using nats = await startNats({ keys: true })`. */
export const startNats = (options: NatsTestOptions = {}): Promise<TestNats> => TestNats.start(options);
