import type { Pool } from "pg";
import { databaseFailure } from "./failure.ts";

/** Prisma leaves its statements unnamed, hence planned again each time; equal text gets an equal name here. */
const statementNames = () => {
  const names = new Map<string, string>();
  return ({ sql }: { sql: string }): string => {
    let name = names.get(sql);
    if (name === undefined) {
      name = `prisma_${names.size}`;
      names.set(sql, name);
    }
    return name;
  };
};

/**
 * Prisma's client over a pool, its failures mapped like those of `Sql`. Imported here and not at the top: the client and
 * its query compiler take 50 MiB, which services that speak SQL need not carry.
 */
export const openPrisma = async (pool: Pool) => {
  const [{ PrismaPg }, { PrismaClient }] = await Promise.all([
    import("@prisma/adapter-pg"),
    import("./generated/client.ts"),
  ]);
  const adapter = new PrismaPg(pool, { statementNameGenerator: statementNames() });
  return new PrismaClient({ adapter, errorFormat: "minimal" }).$extends({
    query: {
      async $allOperations({ args, query }) {
        try {
          return await query(args);
        } catch (error) {
          throw databaseFailure(error);
        }
      },
    },
  });
};

export type Prisma = Awaited<ReturnType<typeof openPrisma>>;
