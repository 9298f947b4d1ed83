import {
  type AssignedNetwork,
  type DesiredState,
  type ExitStatus,
  type Instance,
  type InstanceMachine,
  type InstanceReason,
  type InstanceState,
  type Isolation,
  type ResizeStatus,
  type Resources,
  fleetError,
} from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Page, type PageRequest, afterId, pageOf } from "./page.ts";
import { type Reference, inProject, referenceValues } from "./workload-rows.ts";

interface InstanceRow {
  readonly id: string;
  readonly project: string;
  readonly workloadId: string;
  readonly workloadName: string;
  readonly name: string;
  readonly slot: number;
  readonly isolation: Isolation;
  readonly generation: number;
  readonly state: InstanceState;
  readonly desired: DesiredState;
  readonly hostId: string | null;
  readonly hostName: string | null;
  readonly era: number | null;
  readonly epochN: number | null;
  readonly attempt: number;
  readonly restarts: number;
  readonly imageDigest: string;
  readonly resources: Resources;
  readonly reason: InstanceReason | null;
  readonly detail: string | null;
  readonly rejections: Instance["rejections"];
  readonly exit: ExitStatus | null;
  readonly resize: ResizeStatus | null;
  readonly contractHeld: boolean | null;
  readonly machine: InstanceMachine | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly version: number;
  readonly network: AssignedNetwork | null;
}

const selectText = `
  SELECT i.id, i.project, i.workload_id AS "workloadId", w.name AS "workloadName", i.name, i.slot, i.isolation,
         i.generation, i.state, i.desired, i.host_id AS "hostId", h.name AS "hostName", i.era, i.epoch_n AS "epochN",
         i.attempt, i.restarts, i.image_digest AS "imageDigest", i.spec->'resources' AS resources, i.reason, i.detail,
         i.rejections, i.exit, i.resize, i.contract_held AS "contractHeld", i.machine, i.created_at AS "createdAt",
         i.started_at AS "startedAt", i.version,
         (SELECT s.document -> 'network' FROM assignment s
          WHERE s.instance_id = i.id AND s.era = i.era AND s.n = i.epoch_n AND s.gone_at IS NULL) AS network
  FROM instance i JOIN workload w ON w.id = i.workload_id LEFT JOIN host h ON h.id = i.host_id`;

const toInstance = ({ era, epochN, network, machine, ...row }: InstanceRow): Instance =>
  ({
    ...row,
    epoch: era === null || epochN === null ? null : { era, n: epochN },
    createdAt: row.createdAt.toISOString(),
    startedAt: row.startedAt?.toISOString() ?? null,
    ...(network === null ? {} : { network }),
    ...(machine === null ? {} : { machine }),
  }) as Instance;

const selectOne = statement<InstanceRow>(
  "api_instance",
  `${selectText} WHERE ($1::text IS NULL OR i.project = $1) AND (i.id = $2::uuid OR i.name = $3) ORDER BY i.id LIMIT 1`,
);

/** Rejects NOT_FOUND. */
export const getInstance = async (sql: Sql, wanted: Reference): Promise<Instance> => {
  const [row] = await sql.rows(selectOne, referenceValues(wanted));
  if (row === undefined) {
    throw fleetError("NOT_FOUND", `There is no instance ${wanted.idOrName} ${inProject(wanted.project)}.`);
  }
  return toInstance(row);
};

const selectPage = statement<InstanceRow>(
  "api_instance_page",
  `${selectText}
   WHERE ($1::text IS NULL OR i.project = $1) AND i.id > $2
     AND ($4::text IS NULL OR w.name = $4 OR w.id::text = $4) AND ($5::text IS NULL OR i.state = $5)
     AND ($6::text IS NULL OR h.name = $6 OR h.id::text = $6)
   ORDER BY i.id LIMIT $3`,
);

export interface InstanceFilter {
  readonly project: string | null;
  /** id or name */
  readonly workload?: string;
  readonly state?: InstanceState;
  /** id or name */
  readonly host?: string;
}

export const listInstances = async (sql: Sql, filter: InstanceFilter, page: PageRequest): Promise<Page<Instance>> => {
  const rows = await sql.rows(selectPage, [
    filter.project,
    afterId(page.cursor),
    page.limit + 1,
    filter.workload ?? null,
    filter.state ?? null,
    filter.host ?? null,
  ]);
  return pageOf(rows, page.limit, { item: toInstance, key: (row) => row.id });
};
