import type { Isolation, SharesApplied } from "@bulkhead/contracts";
import { confirmShares } from "../api/share-uses.ts";
import { forgetShare } from "../api/shares.ts";
import { statement, type Sql } from "../database.ts";
import { assertLeading } from "./leadership.ts";

/** Instances, and shares, of one host looked at in one pass: a host that does nothing holds up no other one. */
const hostMax = 100;

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
  `SELECT o.instance_id AS "instanceId", o.host_id AS "hostId", o.isolation FROM (
     SELECT a.instance_id, a.host_id, a.isolation,
       row_number() OVER (PARTITION BY a.host_id, a.isolation ORDER BY a.instance_id) AS turn
     FROM assignment a
     JOIN host_agent g ON g.host_id = a.host_id AND g.isolation = a.isolation AND g.state = 'ready'
     WHERE NOT a.tombstone AND a.instance_id IN (SELECT instance_id FROM share_use WHERE state IN ('attaching', 'detaching'))
   ) o WHERE o.turn <= ${hostMax}`,
);
const selectDoomed = statement<DoomedShare>(
  "control_share_doomed",
  `SELECT o.id, o.name, o.project, o.host_id AS "hostId" FROM (
     SELECT s.*, row_number() OVER (PARTITION BY s.host_id ORDER BY s.id) AS turn FROM share s
     JOIN host_agent g ON g.host_id = s.host_id AND g.isolation = 'container' AND g.state = 'ready'
     WHERE s.deleting
   ) o WHERE o.turn <= ${hostMax}`,
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
