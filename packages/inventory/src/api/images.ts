import { type Digest, type Image, type ImageConfig, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, appendEvents, audit } from "./change.ts";
import { type Page, type PageRequest, afterText, pageOf } from "./page.ts";
import { inProject } from "./workload-rows.ts";

interface ImageRow {
  readonly project: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly layers: Image["layers"];
  readonly config: ImageConfig;
  readonly source: string | null;
  readonly createdAt: Date;
  readonly names: string[];
}

const selectText = `
  SELECT m.project, m.digest, m.size_bytes AS "sizeBytes", m.layers, m.config, m.source, m.created_at AS "createdAt",
         ARRAY(SELECT n.name FROM image_name n WHERE n.project = m.project AND n.digest = m.digest ORDER BY n.name) AS names
  FROM image m`;

const toImage = (row: ImageRow): Image => ({
  ...row,
  digest: row.digest as Digest,
  createdAt: row.createdAt.toISOString(),
});

/** `name` means `name:latest`, as at import. */
export const withTag = (name: string): string =>
  name.slice(name.lastIndexOf("/") + 1).includes(":") ? name : `${name}:latest`;

const isDigest = (reference: string): boolean => reference.startsWith("sha256:");

const selectOne = statement<ImageRow>(
  "api_image",
  `${selectText} WHERE ($1::text IS NULL OR m.project = $1)
     AND (m.digest = $2 OR EXISTS (
       SELECT 1 FROM image_name n WHERE n.project = m.project AND n.digest = m.digest AND n.name = $3))
   ORDER BY m.project LIMIT 1`,
);

/** An image by digest or name; undefined when there is none. */
export const findImage = async (sql: Sql, project: string | null, reference: string): Promise<Image | undefined> => {
  const values = isDigest(reference) ? [project, reference, null] : [project, null, withTag(reference)];
  const [row] = await sql.rows(selectOne, values);
  return row === undefined ? undefined : toImage(row);
};

/** Rejects NOT_FOUND. */
export const getImage = async (sql: Sql, project: string | null, reference: string): Promise<Image> => {
  const image = await findImage(sql, project, reference);
  if (image === undefined) throw fleetError("NOT_FOUND", `There is no image ${reference} ${inProject(project)}.`);
  return image;
};

const selectPage = statement<ImageRow>(
  "api_image_page",
  `${selectText} WHERE ($1::text IS NULL OR m.project = $1) AND m.project || ' ' || m.digest > $2
   ORDER BY m.project || ' ' || m.digest LIMIT $3`,
);

export const listImages = async (sql: Sql, project: string | null, page: PageRequest): Promise<Page<Image>> => {
  const rows = await sql.rows(selectPage, [project, afterText(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toImage, key: (row) => `${row.project} ${row.digest}` });
};

export interface NewImage {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly layers: Image["layers"];
  readonly config: ImageConfig;
  /** with tags; a name that another image has moves here */
  readonly names: readonly string[];
  /** registry reference it was pulled from; absent for an import */
  readonly source?: string;
}

const upsertImage = statement(
  "api_image_upsert",
  `INSERT INTO image (project, digest, size_bytes, layers, config, source) VALUES ($1, $2, $3, $4, $5, $6)
   ON CONFLICT (project, digest) DO UPDATE
     SET size_bytes = excluded.size_bytes, source = coalesce(excluded.source, image.source)`,
);
const ensureProject = statement("api_project", `INSERT INTO project (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`);
const upsertNames = statement(
  "api_image_names",
  `INSERT INTO image_name (project, name, digest) SELECT $1, n, $2 FROM unnest($3::text[]) AS n
   ON CONFLICT (project, name) DO UPDATE SET digest = excluded.digest`,
);

/** Records an image whose blobs are all stored; recording it again changes only names and where it came from. */
export const recordImage = async (sql: Sql, change: Change, image: NewImage): Promise<Image> => {
  const { digest, names, source } = image;
  const data = { ...(source === undefined ? {} : { source }), names };
  await sql.count(ensureProject, [change.project]);
  await sql.count(upsertImage, [
    change.project,
    digest,
    image.sizeBytes,
    JSON.stringify(image.layers),
    JSON.stringify(image.config),
    image.source ?? null,
  ]);
  await Promise.all([
    sql.count(upsertNames, [change.project, digest, [...names].sort()]),
    appendEvents(sql, change, [
      { type: source === undefined ? "image.imported" : "image.pulled", data: { digest, ...data } },
    ]),
    audit(sql, change, { verb: source === undefined ? "image.import" : "image.pull", target: digest, data }),
  ]);
  return getImage(sql, change.project, digest);
};

const lockImage = statement("api_image_lock", `SELECT 1 FROM image WHERE project = $1 AND digest = $2 FOR UPDATE`);
const selectUsers = statement<{ name: string }>(
  "api_image_users",
  `SELECT name FROM workload WHERE project = $1 AND image_digest = $2
   UNION ALL SELECT 'snapshot ' || id FROM snapshot WHERE project = $1 AND image_digest = $2 ORDER BY name LIMIT 6`,
);
const selectKernels = statement<{ name: string }>(
  "api_image_kernels",
  `SELECT name FROM kernel WHERE project = $1 AND digest = $2 ORDER BY name LIMIT 6`,
);
const deleteRow = statement("api_image_delete", `DELETE FROM image WHERE project = $1 AND digest = $2`);

/** Forgets an image and its names; its blobs go with the next sweep. Rejects NOT_FOUND, IMAGE_IN_USE. */
export const deleteImage = async (sql: Sql, change: Change, reference: string): Promise<void> => {
  const { digest } = await getImage(sql, change.project, reference);
  // Locked before the users are read: a workload that is being created holds a share of this lock until it commits.
  await sql.count(lockImage, [change.project, digest]);
  const users = (await sql.rows(selectUsers, [change.project, digest])).map(({ name }) => name);
  const kernels = (await sql.rows(selectKernels, [change.project, digest])).map(({ name }) => name);
  if (kernels.length > 0) {
    throw fleetError("IMAGE_IN_USE", `Image ${reference} is the kernel ${kernels.join(", ")}.`);
  }
  if (users.length > 0) {
    const named = users.length > 5 ? `${users.slice(0, 5).join(", ")} and more` : users.join(", ");
    throw fleetError("IMAGE_IN_USE", `Image ${reference} is used by ${named}.`);
  }
  await sql.count(deleteRow, [change.project, digest]);
  await audit(sql, change, { verb: "image.delete", target: digest, data: { reference } });
};

const selectDigests = statement<{ digest: Digest }>("api_image_digests", `SELECT DISTINCT digest FROM image`);

/** Manifests of all images of all projects, for the sweep of unused blobs. */
export const allImageDigests = async (sql: Sql): Promise<Digest[]> =>
  (await sql.rows(selectDigests)).map(({ digest }) => digest);
