import { fleetError, isFleetError } from "@bulkhead/contracts";

/** SQLSTATE classes and codes that say "the server cannot serve now" (PostgreSQL appendix A). */
const unavailableStates = /^(08...|53300|57P0[1-5]|58030|25006)$/;
/** Serialization failure and deadlock: the same transaction may succeed when it is run again. */
const retryStates = new Set(["40001", "40P01"]);
/** Node's socket errors, Prisma's connection errors. */
const unavailableCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "P1001",
  "P1002",
  "P1008",
  "P1017",
  "P2024",
]);
/** pg and pg-pool give these no code. */
const unavailableMessages =
  /Connection terminated|timeout exceeded when trying to connect|not queryable|Client was closed|Query read timeout|pool after calling end|connection timeout/i;

const codeOf = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;

const causes = (error: unknown): unknown[] => {
  const found: unknown[] = [];
  for (let current = error; current !== undefined && current !== null && found.length < 5;) {
    found.push(current);
    current = typeof current === "object" && "cause" in current ? current.cause : undefined;
  }
  return found;
};

/** SQLSTATE of a failed statement, looked for through Prisma's and our wrapping; undefined when it has none. */
export const sqlState = (error: unknown): string | undefined => {
  for (const cause of causes(error)) {
    if (
      typeof cause === "object" &&
      cause !== null &&
      "originalCode" in cause &&
      typeof cause.originalCode === "string"
    ) {
      return cause.originalCode;
    }
    const code = codeOf(cause);
    if (code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("P1") && !code.startsWith("P2"))
      return code;
  }
  return undefined;
};

/** Values that no such type holds, or too much of them for one row, or a check that refuses them. */
const refusingStates = /^(22...|54...|23514)$/;

/** True when the database refuses the values themselves: it would refuse them again, whenever they come. */
export const isRefusedValue = (error: unknown): boolean => refusingStates.test(sqlState(error) ?? "");

/** Name of the constraint that a statement would have broken; undefined when it failed otherwise. */
export const constraintOf = (error: unknown): string | undefined => {
  for (const cause of causes(error)) {
    if (typeof cause === "object" && cause !== null && "constraint" in cause && typeof cause.constraint === "string") {
      return cause.constraint;
    }
  }
  return undefined;
};

/** True when the transaction lost a race and may simply be run again. */
export const isRetryable = (error: unknown): boolean => retryStates.has(sqlState(error) ?? "");

/** True when a unique constraint or index refused the row; `name` narrows it to one. */
export const isUniqueViolation = (error: unknown, name?: string): boolean =>
  causes(error).some(
    (cause) =>
      codeOf(cause) === "P2002" ||
      (sqlState(cause) === "23505" &&
        (name === undefined ||
          (typeof cause === "object" && cause !== null && "constraint" in cause && cause.constraint === name))),
  );

const isUnavailable = (error: unknown): boolean =>
  causes(error).some((cause) => {
    const code = codeOf(cause) ?? "";
    return (
      unavailableCodes.has(code) ||
      unavailableStates.test(sqlState(cause) ?? "") ||
      (cause instanceof AggregateError && cause.errors.some(isUnavailable)) ||
      (cause instanceof Error && unavailableMessages.test(cause.message))
    );
  });

/** DATABASE_UNAVAILABLE for lost or refused connections; every other error as it is. */
export const databaseFailure = (error: unknown): unknown =>
  !isFleetError(error) && isUnavailable(error)
    ? fleetError(
        "DATABASE_UNAVAILABLE",
        `Postgres does not answer (${error instanceof Error && error.message !== "" ? error.message : (codeOf(error) ?? "connection lost")}).`,
        { cause: error },
      )
    : error;
