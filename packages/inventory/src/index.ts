export { Database, statement } from "./database.ts";
export type { DatabaseLog, DatabaseOptions, Prisma, Sql, Statement } from "./database.ts";
export { databaseFailure, isRetryable, isUniqueViolation, sqlState } from "./failure.ts";
export { migrate } from "./migrate.ts";
