import { statement, type Sql } from "../database.ts";

/** Name of the one lease; one control plane has one leader. */
const leaseName = "control";

// The term never goes back, not even after the restore of an old backup: it is at least the time in seconds.
const acquireLease = statement<{ term: number }>(
  "control_lease_acquire",
  `INSERT INTO lease AS l (name, term, holder, expires_at)
   VALUES ('${leaseName}', extract(epoch FROM clock_timestamp())::bigint, $1, clock_timestamp() + $2 * interval '1 ms')
   ON CONFLICT (name) DO UPDATE
     SET term = greatest(l.term + 1, excluded.term), holder = excluded.holder, expires_at = excluded.expires_at
     WHERE l.expires_at <= clock_timestamp() OR l.holder = $3
   RETURNING term`,
);

const renewLease = statement(
  "control_lease_renew",
  `UPDATE lease SET expires_at = clock_timestamp() + $3 * interval '1 ms'
   WHERE name = '${leaseName}' AND term = $1 AND holder = $2 AND expires_at > clock_timestamp()`,
);

// Over since ever, not since now: the column has milliseconds, and now may be rounded to a moment that is still to come.
const releaseLease = statement(
  "control_lease_release",
  `UPDATE lease SET expires_at = 'epoch' WHERE name = '${leaseName}' AND term = $1 AND holder = $2`,
);

const selectHolder = statement<{ holder: string }>(
  "control_lease_holder",
  `SELECT holder FROM lease WHERE name = '${leaseName}'`,
);

export interface LeaseRequest {
  readonly holder: string;
  readonly ttlMs: number;
  /** a holder known to be dead, whose lease need not run out first */
  readonly deadHolder?: string;
}

/** Takes the lease when it is free, run out or held by the dead one; resolves to the new term, or null. */
export const acquireLeadership = async (sql: Sql, request: LeaseRequest): Promise<number | null> => {
  const [row] = await sql.rows(acquireLease, [request.holder, request.ttlMs, request.deadHolder ?? null]);
  return row?.term ?? null;
};

/** Extends a lease that has not run out; false when it has, or when another holds it. */
export const renewLeadership = async (
  sql: Sql,
  lease: { readonly term: number; readonly holder: string; readonly ttlMs: number },
): Promise<boolean> => (await sql.count(renewLease, [lease.term, lease.holder, lease.ttlMs])) === 1;

/** Gives the lease back, so that a successor need not wait. */
export const releaseLeadership = async (
  sql: Sql,
  lease: { readonly term: number; readonly holder: string },
): Promise<void> => {
  await sql.count(releaseLease, [lease.term, lease.holder]);
};

/** Who holds the lease, or held it last; null before the first. */
export const leaseHolder = async (sql: Sql): Promise<string | null> =>
  (await sql.rows(selectHolder))[0]?.holder ?? null;

/** Rejection of a control transaction whose scheduler no longer leads: nothing was written. */
export class NotLeading extends Error {
  constructor(term: number) {
    super(`term ${term} is over: another scheduler leads, or the lease ran out`);
    this.name = "NotLeading";
  }
}

/**
 * Condition that a statement of term `$1` may write. A takeover waits for statements that hold the share lock, and every
 * later one of an old term finds no row.
 */
export const fence = `SELECT l.term FROM lease l
  WHERE l.name = '${leaseName}' AND l.term = $1 AND l.expires_at > clock_timestamp() FOR SHARE`;

const holdFence = statement("control_fence", fence);

/** First statement of every control transaction: rejects NotLeading unless `term` is in force until it ends. */
export const assertLeading = async (sql: Sql, term: number): Promise<void> => {
  if ((await sql.count(holdFence, [term])) === 0) throw new NotLeading(term);
};
