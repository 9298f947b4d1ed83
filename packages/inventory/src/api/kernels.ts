import { type Digest, type Kernel, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { isUniqueViolation } from "../failure.ts";
import { type Change, audit } from "./change.ts";
import { type Page, type PageRequest, afterText, pageOf } from "./page.ts";
import { type Reference, inProject } from "./workload-rows.ts";

/** What was found in the image that holds it. */
export interface NewKernel {
  readonly name: string;
  readonly digest: Digest;
  readonly release: string;
  readonly architecture: string;
  /** the project's machines that name none get it from now on */
  readonly default: boolean;
}

type KernelRow = Omit<Kernel, "createdAt"> & { readonly createdAt: Date };

const selectText = `
  SELECT k.project, k.name, k.digest, k.release, k.architecture, k.is_default AS "default", k.created_at AS "createdAt",
    ARRAY(SELECT w.name FROM workload w WHERE w.project = k.project AND w.spec #>> '{vm,kernel}' = k.digest
          ORDER BY w.name LIMIT 100) AS workloads
  FROM kernel k`;

const toKernel = (row: KernelRow): Kernel => ({ ...row, createdAt: row.createdAt.toISOString() });

const selectOne = statement<KernelRow>(
  "api_kernel",
  `${selectText} WHERE ($1::text IS NULL OR k.project = $1) AND (k.name = $2 OR k.digest = $2)
   ORDER BY k.project, k.name LIMIT 1`,
);

/** A kernel by name or digest; undefined when there is none. */
export const findKernel = async (sql: Sql, { project, idOrName }: Reference): Promise<Kernel | undefined> => {
  const [row] = await sql.rows(selectOne, [project, idOrName]);
  return row === undefined ? undefined : toKernel(row);
};

/** Rejects NOT_FOUND. */
export const getKernel = async (sql: Sql, wanted: Reference): Promise<Kernel> => {
  const kernel = await findKernel(sql, wanted);
  if (kernel !== undefined) return kernel;
  throw fleetError("NOT_FOUND", `There is no kernel ${wanted.idOrName} ${inProject(wanted.project)}.`);
};

const selectDefault = statement<{ digest: Digest }>(
  "api_kernel_default",
  `SELECT digest FROM kernel WHERE project = $1 AND is_default`,
);

/** Of what a project's machines run that name no kernel; undefined when it has no default. */
export const defaultKernel = async (sql: Sql, project: string): Promise<Digest | undefined> =>
  (await sql.rows(selectDefault, [project]))[0]?.digest;

const selectPage = statement<KernelRow>(
  "api_kernel_page",
  `${selectText} WHERE ($1::text IS NULL OR k.project = $1) AND k.project || ' ' || k.name > $2
   ORDER BY k.project || ' ' || k.name LIMIT $3`,
);

export const listKernels = async (sql: Sql, project: string | null, page: PageRequest): Promise<Page<Kernel>> => {
  const rows = await sql.rows(selectPage, [project, afterText(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toKernel, key: (row) => `${row.project} ${row.name}` });
};

const clearDefault = statement("api_kernel_no_default", `UPDATE kernel SET is_default = false WHERE project = $1`);
// The image is held until commit, so that it cannot be deleted meanwhile.
const insertKernel = statement(
  "api_kernel_insert",
  `INSERT INTO kernel (project, name, digest, release, architecture, is_default)
   SELECT $1, $2, digest, $4, $5, $6 FROM (
     SELECT digest FROM image WHERE project = $1 AND digest = $3 FOR KEY SHARE) AS held`,
);

/** Rejects NAME_TAKEN, and IMAGE_UNAVAILABLE when its image was deleted since it was read. */
export const createKernel = async (sql: Sql, change: Change, wanted: NewKernel): Promise<Kernel> => {
  const { name, digest, release, architecture } = wanted;
  if (wanted.default) await sql.count(clearDefault, [change.project]);
  const values = [change.project, name, digest, release, architecture, wanted.default];
  const added = await sql.count(insertKernel, values).catch((error: unknown) => {
    if (!isUniqueViolation(error)) throw error;
    throw fleetError("NAME_TAKEN", `Project ${change.project} already has a kernel ${name}.`, { cause: error });
  });
  if (added === 0) {
    throw fleetError("IMAGE_UNAVAILABLE", `Project ${change.project} no longer has the image ${digest}.`);
  }
  await audit(sql, change, { verb: "kernel.create", target: digest, data: { name, release } });
  return getKernel(sql, { project: change.project, idOrName: name });
};

const shareKernel = statement(
  "api_kernel_share",
  `SELECT FROM kernel WHERE project = $1 AND digest = $2 ORDER BY name FOR KEY SHARE`,
);

/** Keeps a kernel from being removed until this transaction ends. Rejects KERNEL_UNKNOWN. */
export const holdKernel = async (sql: Sql, project: string, digest: string): Promise<void> => {
  if ((await sql.count(shareKernel, [project, digest])) > 0) return;
  throw fleetError("KERNEL_UNKNOWN", `Project ${project} no longer has the kernel ${digest}.`, {
    fields: { errors: [{ pointer: "/spec/vm/kernel", message: "is no kernel of the project" }] },
  });
};

const lockKernels = statement<{ name: string }>(
  "api_kernel_lock",
  `SELECT name FROM kernel WHERE project = $1 AND digest = $2 ORDER BY name FOR UPDATE`,
);
const deleteRow = statement("api_kernel_delete", `DELETE FROM kernel WHERE project = $1 AND name = $2`);

/**
 * Forgets a kernel's name; its image stays. Rejects NOT_FOUND, and KERNEL_IN_USE when workloads run on it and no other
 * name of the project is for it.
 */
export const deleteKernel = async (sql: Sql, change: Change, idOrName: string): Promise<void> => {
  const { name, digest } = await getKernel(sql, { project: change.project, idOrName });
  // Locked before the users are read: a workload that is being created holds a share of this lock until it commits.
  const names = await sql.rows(lockKernels, [change.project, digest]);
  const { workloads } = await getKernel(sql, { project: change.project, idOrName: name });
  if (names.length === 1 && workloads.length > 0) {
    const named = workloads.length > 5 ? `${workloads.slice(0, 5).join(", ")} and more` : workloads.join(", ");
    throw fleetError("KERNEL_IN_USE", `Kernel ${name} is used by ${named}.`);
  }
  await sql.count(deleteRow, [change.project, name]);
  await audit(sql, change, { verb: "kernel.delete", target: digest, data: { name } });
};
