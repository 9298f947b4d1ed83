import { Pool, types, type PoolClient } from "pg";
import { databaseFailure, isRetryable } from "./failure.ts";
import { openPrisma, type Prisma } from "./prisma.ts";

/** Constant text with a name, so that each connection parses and plans it once. */
export interface Statement<Row> {
  readonly name: string;
  readonly text: string;
  /** carries the row's type only */
  readonly row?: Row;
}

/** A named statement; `name` is unique in the program, because a connection keeps one text per name. */
export const statement = <Row = never>(name: string, text: string): Statement<Row> => ({ name, text });

/** Runs named statements on one connection; int8 comes as a number, timestamptz as a Date, jsonb parsed. */
export interface Sql {
  rows<Row>(statement: Statement<Row>, values?: readonly unknown[]): Promise<Row[]>;
  /** Number of rows written or read. */
  count(statement: Statement<unknown>, values?: readonly unknown[]): Promise<number>;
}

/** What the inventory needs of a logger. */
export interface DatabaseLog {
  warn(fields: object, message: string): void;
}

export interface DatabaseOptions {
  readonly databaseUrl: string;
  /** connections kept at most */
  readonly poolMax: number;
  readonly log?: DatabaseLog;
}

/** Longest wait for a connection, in milliseconds; a request must not hang on a dead database. */
const connectTimeoutMs = 5_000;
/** Longest statement, in milliseconds; the longest of ours is a migration or a retention pass. */
const statementTimeoutMs = 30_000;
/** A serialization failure or deadlock is tried this often before it is the caller's problem. */
const attempts = 6;

type TypeId = Parameters<typeof types.getTypeParser>[0];
const int8: TypeId = types.builtins.INT8;
/** int8 as a number: every int8 of the schema is below 2^53 (sequence numbers, versions, bytes up to 2^46). */
const parsers = {
  getTypeParser: (oid: TypeId, format?: "text" | "binary") =>
    oid === int8 ? Number : types.getTypeParser(oid, format ?? "text"),
};

const sqlOn = (client: Pick<PoolClient, "query">): Sql => ({
  async rows<Row>({ name, text }: Statement<Row>, values: readonly unknown[] = []) {
    const result = await client.query({ name, text, values: [...values], types: parsers });
    return result.rows as Row[];
  },
  async count({ name, text }, values = []) {
    const result = await client.query({ name, text, values: [...values], types: parsers });
    return result.rowCount ?? 0;
  },
});

/** The one handle on Postgres. Lost connections reject DATABASE_UNAVAILABLE and heal with the next call. */
export class Database implements Sql, AsyncDisposable {
  readonly pool: Pool;
  #prisma: Promise<Prisma> | undefined;

  constructor({ databaseUrl, poolMax, log }: DatabaseOptions) {
    this.pool = new Pool({
      connectionString: databaseUrl,
      max: poolMax,
      connectionTimeoutMillis: connectTimeoutMs,
      statement_timeout: statementTimeoutMs,
      idle_in_transaction_session_timeout: statementTimeoutMs,
      application_name: "bulkhead",
      // Statements that do not wait for each other's answers share a round trip.
      pipeline: true,
    });
    this.pool.on("error", (error) => log?.warn({ err: error }, "idle database connection lost"));
  }

  async rows<Row>(wanted: Statement<Row>, values: readonly unknown[] = []): Promise<Row[]> {
    return this.#mapped(() => sqlOn(this.pool as Pick<PoolClient, "query">).rows(wanted, values));
  }

  async count(wanted: Statement<unknown>, values: readonly unknown[] = []): Promise<number> {
    return this.#mapped(() => sqlOn(this.pool as Pick<PoolClient, "query">).count(wanted, values));
  }

  /**
   * Runs `work` in one READ COMMITTED transaction, again (up to 6 times, with growing pauses) when it lost a deadlock
   * or a serialization race: `work` must do nothing but statements. Rejects what `work` rejects, rolled back. When the
   * connection is lost at COMMIT the outcome is unknown: DATABASE_UNAVAILABLE.
   */
  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.repeat(() => this.#mapped(() => this.#once(work)));
  }

  /** Runs `call` again, as `transaction` does, when it lost a deadlock or a serialization race. */
  async repeat<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await call();
      } catch (error) {
        if (attempt === attempts || !isRetryable(error)) throw error;
        // Jitter, so that two losers do not meet again.
        await new Promise((resolve) => setTimeout(resolve, 2 ** attempt * (0.5 + Math.random())));
      }
    }
  }

  /** Prisma's client on the same connections, loaded when it is first asked for. */
  prisma(): Promise<Prisma> {
    this.#prisma ??= openPrisma(this.pool);
    return this.#prisma;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#prisma)?.$disconnect();
    await this.pool.end();
  }

  async #once<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    let broken = false;
    // An error event without a listener ends the process; the failing statement tells the caller.
    const onError = () => {
      broken = true;
    };
    client.on("error", onError);
    try {
      const begun = client.query("BEGIN");
      const [begin, done] = await Promise.allSettled([begun, work(sqlOn(client))]);
      if (begin.status === "rejected") throw begin.reason;
      if (done.status === "rejected") {
        await client.query("ROLLBACK").catch(onError);
        throw done.reason;
      }
      await client.query("COMMIT");
      return done.value;
    } catch (error) {
      if (databaseFailure(error) !== error) broken = true;
      throw error;
    } finally {
      client.off("error", onError);
      client.release(broken);
    }
  }

  async #mapped<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw databaseFailure(error);
    }
  }
}
