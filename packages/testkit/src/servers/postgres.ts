import { join } from "node:path";
import { PostgresServer } from "@bulkhead/service/postgres";
import { TestDirectory, testUser } from "./directory.ts";

/** Makes the schema in an empty database; called once per server. */
export type Migrate = (databaseUrl: string) => Promise<unknown>;

export interface PostgresTestOptions {
  readonly migrate?: Migrate;
  /** server settings over the defaults */
  readonly settings?: Readonly<Record<string, string>>;
}

const templateName = "template_bulkhead";

/** A real PostgreSQL of one test file: temporary directory, Unix socket only, databases copied from one template. */
export class TestPostgres implements AsyncDisposable {
  readonly server: PostgresServer;
  readonly #directory: TestDirectory;
  #databases = 0;
  #hasTemplate = false;

  private constructor(server: PostgresServer, directory: TestDirectory) {
    this.server = server;
    this.#directory = directory;
  }

  static async start(options: PostgresTestOptions): Promise<TestPostgres> {
    const directory = await TestDirectory.make("postgres");
    const server = new PostgresServer({
      ...testUser,
      dataDir: join(directory.path, "data"),
      socketDir: join(directory.path, "socket"),
      // A killed process loses nothing that reached the kernel; only a power cut would, and tests have none.
      settings: { fsync: "off", full_page_writes: "off", ...options.settings },
    });
    const postgres = new TestPostgres(server, directory);
    try {
      await server.start();
      if (options.migrate !== undefined) {
        await server.createDatabase(templateName);
        await options.migrate(server.url(templateName));
        postgres.#hasTemplate = true;
      }
    } catch (error) {
      await postgres[Symbol.asyncDispose]();
      throw error;
    }
    return postgres;
  }

  /** Connection string of a database nobody else uses: migrated when `migrate` was given, else empty. */
  async database(): Promise<string> {
    this.#databases += 1;
    const name = `test_${this.#databases}`;
    await this.server.createDatabase(name, this.#hasTemplate ? templateName : undefined);
    return this.server.url(name);
  }

  /** kill -9; `restart` recovers on the same connection string. */
  kill(): Promise<void> {
    return this.server.kill();
  }

  async restart(): Promise<void> {
    await this.server.kill();
    await this.server.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}

/** Starts a PostgreSQL for a test file; `await using pg = await startPostgres({ migrate })`. */
export const startPostgres = (options: PostgresTestOptions = {}): Promise<TestPostgres> => TestPostgres.start(options);
