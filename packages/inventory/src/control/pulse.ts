import { statement, type Sql } from "../database.ts";

/** What waits in the database, whoever wrote it. */
export interface Pulse {
  readonly events: boolean;
  readonly outbox: boolean;
  readonly pending: boolean;
}

const selectPulse = statement<Pulse>(
  "control_pulse",
  `SELECT EXISTS (SELECT FROM event_inbox) AS events, EXISTS (SELECT FROM outbox) AS outbox,
     EXISTS (SELECT FROM instance WHERE state = 'pending' AND NOT removing AND desired <> 'stopped') AS pending`,
);

/** One cheap question instead of one for every kind of work. */
export const readPulse = async (sql: Sql): Promise<Pulse> =>
  (await sql.rows(selectPulse))[0] ?? { events: false, outbox: false, pending: false };
