import { type LayerProgress, type Operation, type Problem, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, type NewEvent, appendEvents } from "./change.ts";
import { type NewImage, recordImage } from "./images.ts";
import { startOperation } from "./operations.ts";

export interface NewPull {
  /** whole registry reference */
  readonly reference: string;
  /** names, with tags, that the image gets */
  readonly names: readonly string[];
}

/** A pull in the hands of one scheduler. */
export interface HeldPull extends NewPull {
  readonly operationId: string;
  readonly holder: string;
  /** on whose behalf */
  readonly change: Change;
}

const ensureProject = statement(
  "api_pull_project",
  `INSERT INTO project (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`,
);
const insertPull = statement(
  "api_pull_insert",
  `INSERT INTO image_pull (operation_id, reference, names, token_id, traceparent) VALUES ($1, $2, $3, $4, $5)`,
);

/** Writes down that an image is to be pulled; whichever scheduler claims it first does it. */
export const startPull = async (sql: Sql, change: Change, { reference, names }: NewPull): Promise<Operation> => {
  await sql.count(ensureProject, [change.project]);
  const operation = await startOperation(sql, change, {
    kind: "image.pull",
    target: { type: "image", id: reference },
    done: false,
  });
  await sql.count(insertPull, [operation.id, reference, [...names], change.tokenId, change.traceparent]);
  return operation;
};

export interface PullClaim {
  readonly holder: string;
  readonly limit: number;
  /** a holder that was not heard of for this long has died, in milliseconds */
  readonly staleMs: number;
}

interface PullRow extends NewPull {
  readonly operationId: string;
  readonly tokenId: string;
  readonly project: string;
  readonly traceId: string | null;
  readonly traceparent: string | null;
}

const claimRows = statement<PullRow>(
  "api_pull_claim",
  `WITH mine AS (
     UPDATE image_pull SET holder = $1, beat_at = now()
     WHERE operation_id IN (
       SELECT operation_id FROM image_pull
       WHERE holder IS NULL OR (holder <> $1 AND beat_at < now() - $3 * interval '1 millisecond')
       ORDER BY operation_id LIMIT $2 FOR UPDATE SKIP LOCKED)
     RETURNING operation_id, reference, names, token_id, traceparent)
   SELECT m.operation_id AS "operationId", m.reference, m.names, m.token_id AS "tokenId", m.traceparent, o.project,
     o.trace_id AS "traceId"
   FROM mine m JOIN operation o ON o.id = m.operation_id ORDER BY m.operation_id`,
);

/** Takes pulls that nobody holds, the oldest first. */
export const claimPulls = async (sql: Sql, { holder, limit, staleMs }: PullClaim): Promise<HeldPull[]> => {
  const rows = await sql.rows(claimRows, [holder, limit, staleMs]);
  return rows.map(({ operationId, reference, names, tokenId, project, traceId, traceparent }) => ({
    operationId,
    reference,
    names,
    holder,
    change: { tokenId, project, traceId, traceparent },
  }));
};

/** What is worth telling about a pull that goes on. */
export interface PullNews {
  readonly progress: string;
  /** absent when they are as before */
  readonly layers?: readonly LayerProgress[];
  /** layers whose state changed, for those who watch events */
  readonly changed: readonly LayerProgress[];
}

const beat = statement(
  "api_pull_beat",
  `UPDATE image_pull SET beat_at = now() WHERE operation_id = $1 AND holder = $2`,
);
const writeNews = statement(
  "api_pull_news",
  `UPDATE operation SET progress = $2, layers = coalesce($3::jsonb, layers) WHERE id = $1 AND state = 'running'`,
);

const requireHeld = (rows: number, operationId: string): void => {
  if (rows === 0) throw fleetError("STATE_CONFLICT", `The pull ${operationId} is another scheduler's now.`);
};

/** Says that the holder lives and how far it is. Rejects STATE_CONFLICT when the pull is another's now. */
export const beatPull = async (sql: Sql, pull: HeldPull, news: PullNews): Promise<void> => {
  const { operationId, holder, change, reference } = pull;
  requireHeld(await sql.count(beat, [operationId, holder]), operationId);
  const layers = news.layers === undefined ? null : JSON.stringify(news.layers);
  await sql.count(writeNews, [operationId, news.progress, layers]);
  const events = news.changed.map((layer): NewEvent => ({
    type: "image.layer",
    data: { operationId, reference, ...layer },
  }));
  await appendEvents(sql, change, events);
};

export type PullOutcome =
  | { readonly image: NewImage; readonly layers: readonly LayerProgress[] }
  | { readonly error: Problem };

const removePull = statement("api_pull_remove", `DELETE FROM image_pull WHERE operation_id = $1 AND holder = $2`);
const endOperation = statement(
  "api_pull_end",
  `UPDATE operation SET state = $2, progress = NULL, error = $3, layers = coalesce($4::jsonb, layers),
     finished_at = now() WHERE id = $1`,
);

/**
 * Ends a pull: the image, its names, the operation and what is told of them appear together. Rejects STATE_CONFLICT when
 * the pull is another's now.
 */
export const finishPull = async (sql: Sql, pull: HeldPull, outcome: PullOutcome): Promise<void> => {
  const { operationId, holder, change, reference } = pull;
  requireHeld(await sql.count(removePull, [operationId, holder]), operationId);
  const [error, layers] = "error" in outcome ? [outcome.error, undefined] : [null, outcome.layers];
  if ("image" in outcome) await recordImage(sql, change, { ...outcome.image, source: reference });
  const state = error === null ? "succeeded" : "failed";
  await sql.count(endOperation, [
    operationId,
    state,
    error === null ? null : JSON.stringify(error),
    layers === undefined ? null : JSON.stringify(layers),
  ]);
  const data = { operationId, kind: "image.pull", state, error };
  await appendEvents(sql, change, [{ type: "operation.finished", data }]);
};

const release = statement("api_pull_release", `UPDATE image_pull SET holder = NULL WHERE holder = $1`);

/** Lets others go on with what this holder has not finished. */
export const releasePulls = async (sql: Sql, holder: string): Promise<void> => {
  await sql.count(release, [holder]);
};
