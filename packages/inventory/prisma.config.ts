import { defineConfig } from "prisma/config";

// For people who run `prisma migrate` or `prisma studio` by hand; the services read their configuration elsewhere.
// oxlint-disable-next-line node/no-process-env
const databaseUrl = process.env["DATABASE_URL"];

export default defineConfig({
  schema: "prisma/schema.prisma",
  migrations: { path: "prisma/migrations" },
  ...(databaseUrl === undefined ? {} : { datasource: { url: databaseUrl } }),
});
