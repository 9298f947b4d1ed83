import { chmod, chown, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { confine, ownUserName, ServerProcess, systemUser, viewPath, type SystemUser } from "@bulkhead/bus";
import { fleetError } from "@bulkhead/contracts";
import { Client, escapeIdentifier } from "pg";
import { removeSharedMemory, waitReaped } from "./postgres-leftovers.ts";
import { postgresBinaries } from "./postgres-binaries.ts";
import { adminRole, databaseRole, peerAuthentication, postgresSettings } from "./postgres-settings.ts";

export interface PostgresOptions {
  /** made if absent, with mode 0700 */
  readonly dataDir: string;
  /** the socket's directory; its path must stay below 90 bytes (sun_path is 108) */
  readonly socketDir: string;
  /** system user to run as; PostgreSQL refuses to run as root */
  readonly user?: string;
  /** accounts besides our own that may log in as the database's owner */
  readonly peers?: readonly string[];
  /** only names the socket file */
  readonly port?: number;
  /** over the defaults of postgresSettings() */
  readonly settings?: Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
}

/** What the embedded package carries; the data format changes with it. */
const majorVersion = "18";
/** initdb on a busy disk. */
const initMs = 180_000;
/** Crash recovery replays at most `max_wal_size`. */
const startMs = 180_000;
/** A fast shutdown writes a checkpoint. */
const stopMs = 30_000;
const retryMs = 50;

/** The embedded PostgreSQL, on a Unix socket only. */
export class PostgresServer implements AsyncDisposable {
  readonly #options: PostgresOptions;
  readonly #port: number;
  #process: ServerProcess | undefined;

  constructor(options: PostgresOptions) {
    this.#options = options;
    this.#port = options.port ?? 5432;
  }

  /** Connection string of our role for a database of this server. */
  url(database: string = databaseRole): string {
    return this.#url(databaseRole, database);
  }

  /** The running process; undefined before start() and after stop(). */
  get process(): ServerProcess | undefined {
    return this.#process;
  }

  /** Initialises the data directory if needed, starts the server, makes role and database. Throws SETUP_FAILED. */
  async start(): Promise<void> {
    const { user, dataDir, socketDir } = this.#options;
    if (Buffer.byteLength(socketDir) > 90) {
      throw fleetError("SETUP_FAILED", `The path of the database's socket is too long for a socket: ${socketDir}.`);
    }
    const owner = user === undefined ? undefined : await systemUser(user);
    const binaries = await postgresBinaries();
    const run = owner === undefined ? confine({}) : confine({ user: owner, view: { from: binaries } });
    const bin = owner === undefined ? join(binaries, "bin") : join(viewPath, "bin");
    await this.#initialise(owner, [...run, join(bin, "initdb")]);
    await mkdir(socketDir, { recursive: true });
    await chmod(socketDir, 0o755);
    if (owner !== undefined) await chown(socketDir, owner.uid, owner.gid);
    await waitReaped(dataDir);
    const settings = { ...(await this.#writeAccess(owner)), ...this.#options.settings };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    await this.#launch([...run, join(bin, "postgres"), "-D", dataDir, ...flags]);
    await this.#makeDatabase();
  }

  /** Rejects unless the server answers a query. */
  async health(): Promise<void> {
    await this.#query("select 1");
  }

  /** Makes a database of our role; a `template` is copied as files, which takes some ten milliseconds. */
  async createDatabase(name: string, template?: string): Promise<void> {
    const from = template === undefined ? "" : ` template ${escapeIdentifier(template)} strategy file_copy`;
    await this.#query(`create database ${escapeIdentifier(name)} owner ${databaseRole}${from}`);
  }

  async dropDatabase(name: string): Promise<void> {
    await this.#query(`drop database if exists ${escapeIdentifier(name)} with (force)`);
  }

  /** Fast shutdown: open transactions are rolled back, a checkpoint is written. */
  async stop(): Promise<void> {
    await this.#process?.stop("SIGINT", stopMs);
    this.#process = undefined;
  }

  /** As a crash ends it: kill -9 of the postmaster. start() recovers. */
  async kill(): Promise<void> {
    await this.#process?.stop("SIGKILL", 0);
    this.#process = undefined;
  }

  /** Stops it and, after a kill(), frees what only the next start would have freed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await removeSharedMemory(this.#options.dataDir);
  }

  #url(role: string, database: string): string {
    const query = new URLSearchParams({ host: this.#options.socketDir, port: String(this.#port) });
    return `postgresql://${role}@localhost/${database}?${query.toString()}`;
  }

  async #initialise(owner: SystemUser | undefined, initdb: string[]): Promise<void> {
    const { dataDir } = this.#options;
    const version = await contentOf(join(dataDir, "PG_VERSION"));
    if (version !== undefined) {
      if (version.trim() === majorVersion) return;
      throw fleetError(
        "SETUP_FAILED",
        `${dataDir} was made by PostgreSQL ${version.trim()}, this is ${majorVersion}. Dump it with the old server and ` +
          "restore it here, or point DATABASE_URL at a server of that version.",
      );
    }
    // initdb that was interrupted left half a directory: it is made beside and renamed when whole.
    const partial = `${dataDir}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true, mode: 0o700 });
    if (owner !== undefined) await chown(partial, owner.uid, owner.gid);
    const init = new ServerProcess({
      name: "initdb",
      command: [
        ...initdb,
        "--pgdata",
        partial,
        `--username=${adminRole}`,
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--auth=peer",
        "--data-checksums",
      ],
    });
    const timer = setTimeout(() => void init.stop("SIGKILL", 0), initMs);
    const { code } = await init.exited;
    clearTimeout(timer);
    if (code !== 0) throw fleetError("SETUP_FAILED", `initdb failed. Its last lines:\n${init.tail}`);
    await rm(dataDir, { recursive: true, force: true });
    await rename(partial, dataDir);
  }

  async #writeAccess(owner: SystemUser | undefined): Promise<Record<string, string>> {
    const { dataDir, socketDir, peers = [] } = this.#options;
    const self = await ownUserName();
    const access = peerAuthentication({ admins: owner === undefined ? [self] : [self, owner.name], peers });
    const hbaFile = join(dataDir, "bulkhead_hba.conf");
    const identFile = join(dataDir, "bulkhead_ident.conf");
    for (const [file, text] of [
      [hbaFile, access.hba],
      [identFile, access.ident],
    ] as const) {
      await writeFile(file, text, { mode: 0o600 });
      if (owner !== undefined) await chown(file, owner.uid, owner.gid);
    }
    return postgresSettings({ socketDir, port: this.#port, hbaFile, identFile });
  }

  async #launch(command: string[]): Promise<void> {
    const end = performance.now() + startMs;
    for (;;) {
      const { onLine } = this.#options;
      const server = new ServerProcess({ name: "postgres", command, ...(onLine === undefined ? {} : { onLine }) });
      try {
        await server.ready(() => this.health(), startMs);
        this.#process = server;
        return;
      } catch (error) {
        await server.stop("SIGQUIT", stopMs);
        // After a kill -9 of the postmaster its children need a moment to notice; they still hold the memory.
        const held = server.tail.includes("pre-existing shared memory block");
        if (!held || performance.now() > end) throw error;
      }
      await delay(retryMs);
    }
  }

  async #makeDatabase(): Promise<void> {
    const roles = await this.#query(`select 1 from pg_roles where rolname = '${databaseRole}'`);
    if (roles === 0) await this.#query(`create role ${databaseRole} login createdb`);
    const databases = await this.#query(`select 1 from pg_database where datname = '${databaseRole}'`);
    if (databases === 0) await this.createDatabase(databaseRole);
  }

  /** Runs a statement as the superuser; number of rows. */
  async #query(sql: string): Promise<number> {
    const connectionString = this.#url(adminRole, adminRole);
    const client = new Client({ connectionString, connectionTimeoutMillis: 5_000 });
    // A server that goes away between two statements is told by the statement; without a listener it would be thrown.
    client.on("error", () => undefined);
    await client.connect();
    try {
      return (await client.query(sql)).rowCount ?? 0;
    } finally {
      await client.end();
    }
  }
}

const contentOf = async (file: string): Promise<string | undefined> => {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
};
