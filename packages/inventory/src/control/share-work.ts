import type { Isolation, SharesApplied } from "@bulkhead/contracts";
import { confirmShares } from "../api/share-uses.ts";
import { forgetShare } from "../api/shares.ts";
import { statement, type Sql } from "../database.ts";
import { assertLeading } from "./leadership.ts";

/** Instances and shares looked at in one pass. */
const passMax = 100;

/** An instance whose agent has not confirmed what it is to see. */
export interface OpenUse {
  readonly instanceId: string;
  readonly hostId: string;
  readonly isolation: Isolation;
}

/** A share whose host is to remove the data. */
export interface DoomedShare {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly hostId: string;
}

const selectUses = statement<OpenUse>(
  "control_share_uses",
  `SELECT DISTINCT u.instance_id AS "instanceId", a.host_id AS "hostId", a.isolation
   FROM share_use u JOIN assignment a ON a.instance_id = u.instance_id AND NOT a.tombstone
   JOIN host_agent g ON g.host_id = a.host_id AND g.isolation = a.isolation AND g.state = 'ready'
   WHERE u.state IN ('attaching', 'detaching') LIMIT ${passMax}`,
);
const selectDoomed = statement<DoomedShare>(
  "control_share_doomed",
  `SELECT s.id, s.name, s.project, s.host_id AS "hostId" FROM share s
   JOIN host_agent g ON g.host_id = s.host_id AND g.isolation = 'container' AND g.state = 'ready'
   WHERE s.deleting LIMIT ${passMax}`,
);
// Instances that run nowhere now see at their next start what they are to see.
const settleHomeless = statement(
  "control_share_homeless",
  `WITH homeless AS (
     SELECT u.instance_id, u.share_id, u.state FROM share_use u
     WHERE u.state IN ('attaching', 'detaching')
       AND NOT EXISTS (SELECT FROM assignment a WHERE a.instance_id = u.instance_id AND a.gone_at IS NULL)
   ), gone AS (
     DELETE FROM share_use u USING homeless h
     WHERE u.instance_id = h.instance_id AND u.share_id = h.share_id AND h.state = 'detaching'
   )
   UPDATE share_use u SET state = 'declared', detail = NULL FROM homeless h
   WHERE u.instance_id = h.instance_id AND u.share_id = h.share_id AND h.state = 'attaching'`,
);

/** What hosts that can be reached have still to do for shares. */
export const readShareWork = async (sql: Sql): Promise<{ uses: OpenUse[]; doomed: DoomedShare[] }> => {
  const [uses, doomed] = await Promise.all([
    sql.rows(selectUses, []),
    sql.rows(selectDoomed, []),
    sql.count(settleHomeless, []),
  ]);
  return { uses, doomed };
};

/** What an agent said of an instance's shares. Of one that does not run, what was ordered holds at its next start. */
export const recordShares = async (
  sql: Sql,
  term: number,
  { instanceId, applied }: { readonly instanceId: string; readonly applied: SharesApplied },
): Promise<void> => {
  await assertLeading(sql, term);
  await confirmShares(sql, instanceId, applied);
};

/** A share's data is gone. */
export const recordShareRemoved = async (sql: Sql, term: number, share: DoomedShare): Promise<void> => {
  await assertLeading(sql, term);
  await forgetShare(sql, share);
};
