import { type Digest, type Workload, type WorkloadSpec, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Page, type PageRequest, afterId, isUuid, pageOf } from "./page.ts";

interface WorkloadRow {
  readonly id: string;
  readonly project: string;
  readonly name: string;
  readonly generation: number;
  readonly spec: WorkloadSpec;
  readonly imageDigest: string;
  readonly createdAt: Date;
  readonly deleting: boolean;
  readonly running: number;
  readonly pending: number;
  readonly failed: number;
}

const selectText = `
  SELECT w.id, w.project, w.name, w.generation, w.spec, w.image_digest AS "imageDigest",
         w.created_at AS "createdAt", w.deleting, s.running, s.pending, s.failed
  FROM workload w CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.state = 'running')::int AS running,
           count(*) FILTER (WHERE i.state IN ('pending', 'assigned', 'starting', 'backoff'))::int AS pending,
           count(*) FILTER (WHERE i.state IN ('failed', 'lost'))::int AS failed
    FROM instance i WHERE i.workload_id = w.id AND NOT i.removing
  ) s`;

const toWorkload = ({ running, pending, failed, ...row }: WorkloadRow): Workload => ({
  ...row,
  id: row.id as Workload["id"],
  imageDigest: row.imageDigest as Digest,
  createdAt: row.createdAt.toISOString(),
  status: { desired: row.deleting ? 0 : (row.spec.replicas ?? 1), running, pending, failed },
});

const selectOne = statement<WorkloadRow>(
  "api_workload",
  `${selectText} WHERE ($1::text IS NULL OR w.project = $1) AND (w.id = $2::uuid OR w.name = $3)
   ORDER BY w.id LIMIT 1`,
);

/** An object by id or name; `project` null looks in every project. */
export interface Reference {
  readonly project: string | null;
  readonly idOrName: string;
}

/** Statement values of a reference: project, id or null, name or null. */
export const referenceValues = ({ project, idOrName }: Reference): [string | null, string | null, string | null] =>
  isUuid(idOrName) ? [project, idOrName, null] : [project, null, idOrName];

/** "in project X" for messages. */
export const inProject = (project: string | null): string =>
  project === null ? "in any project" : `in project ${project}`;

/** Rejects NOT_FOUND. */
export const getWorkload = async (sql: Sql, wanted: Reference): Promise<Workload> => {
  const [row] = await sql.rows(selectOne, referenceValues(wanted));
  if (row === undefined) {
    throw fleetError("NOT_FOUND", `There is no workload ${wanted.idOrName} ${inProject(wanted.project)}.`);
  }
  return toWorkload(row);
};

const selectPage = statement<WorkloadRow>(
  "api_workload_page",
  `${selectText} WHERE ($1::text IS NULL OR w.project = $1) AND w.id > $2 AND ($4::jsonb IS NULL OR w.spec->'labels' @> $4)
   ORDER BY w.id LIMIT $3`,
);

export interface WorkloadFilter {
  readonly project: string | null;
  /** all of these, exactly */
  readonly labels?: Readonly<Record<string, string>>;
}

export const listWorkloads = async (sql: Sql, filter: WorkloadFilter, page: PageRequest): Promise<Page<Workload>> => {
  const labels = filter.labels === undefined ? null : JSON.stringify(filter.labels);
  const rows = await sql.rows(selectPage, [filter.project, afterId(page.cursor), page.limit + 1, labels]);
  return pageOf(rows, page.limit, { item: toWorkload, key: (row) => row.id });
};
