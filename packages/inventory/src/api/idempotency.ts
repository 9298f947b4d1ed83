import { fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";

/** A client's key for one POST, per token; `bodyHash` covers method, path and body. */
export interface OnceKey {
  readonly tokenId: string;
  readonly key: string;
  readonly bodyHash: Uint8Array;
}

/** What was answered, to be answered again. */
export interface StoredAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** Answers are kept this long (the API conventions), in milliseconds. */
const keptMs = 24 * 60 * 60 * 1000;
/** A claim without an answer is taken over after this long: its process died. No POST of ours may take longer, in ms. */
const claimMs = 60_000;

const claimKey = statement<{ claimed: boolean }>(
  "api_idempotency_claim",
  `INSERT INTO idempotency_key AS k (token_id, key, body_hash) VALUES ($1, $2, $3)
   ON CONFLICT (token_id, key) DO UPDATE
     SET body_hash = excluded.body_hash, status = NULL, headers = NULL, response = NULL, created_at = now()
     WHERE k.created_at < now() - $4 * interval '1 millisecond'
        OR (k.status IS NULL AND k.created_at < now() - $5 * interval '1 millisecond')
   RETURNING true AS claimed`,
);

const readKey = statement<{ same: boolean; status: number | null; headers: object; response: unknown }>(
  "api_idempotency_read",
  `SELECT body_hash = $3 AS same, status, headers, response FROM idempotency_key WHERE token_id = $1 AND key = $2`,
);

const completeKey = statement(
  "api_idempotency_complete",
  `UPDATE idempotency_key SET status = $3, headers = $4, response = $5 WHERE token_id = $1 AND key = $2`,
);

const releaseKey = statement(
  "api_idempotency_release",
  `DELETE FROM idempotency_key WHERE token_id = $1 AND key = $2 AND status IS NULL`,
);

/**
 * Takes the key. Resolves undefined when the caller is the first and must act, else to the earlier answer. Within a
 * transaction a concurrent duplicate waits here until the first commits. Rejects IDEMPOTENCY_MISMATCH for another body,
 * STATE_CONFLICT while the first request is still at work.
 */
export const claim = async (sql: Sql, once: OnceKey): Promise<StoredAnswer | undefined> => {
  const taken = await sql.rows(claimKey, [once.tokenId, once.key, once.bodyHash, keptMs, claimMs]);
  if (taken.length > 0) return undefined;
  const [row] = await sql.rows(readKey, [once.tokenId, once.key, once.bodyHash]);
  if (row?.same === false) {
    throw fleetError(
      "IDEMPOTENCY_MISMATCH",
      "This Idempotency-Key was used with another request within 24 hours; use a new key for a new request.",
    );
  }
  if (row === undefined || row.status === null) {
    throw fleetError("STATE_CONFLICT", "The first request with this Idempotency-Key is still at work; repeat it soon.");
  }
  return { status: row.status, headers: row.headers as Record<string, string>, body: row.response };
};

/** Keeps the answer for repetitions. */
export const complete = async (sql: Sql, once: OnceKey, answer: StoredAnswer): Promise<void> => {
  await sql.count(completeKey, [
    once.tokenId,
    once.key,
    answer.status,
    JSON.stringify(answer.headers),
    JSON.stringify(answer.body),
  ]);
};

/** Gives up a claim whose action failed, so that a repetition acts. */
export const release = async (sql: Sql, once: OnceKey): Promise<void> => {
  await sql.count(releaseKey, [once.tokenId, once.key]);
};
