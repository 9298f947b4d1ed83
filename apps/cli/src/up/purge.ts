import { readdir, readFile, rm, rmdir } from "node:fs/promises";
import { createClient } from "@bulkhead/client";
import { isFleetError } from "@bulkhead/contracts/errors";
import { PostgresServer } from "@bulkhead/service/postgres";
import { removeLocalContext } from "./admin-token.ts";
import type { Invocation } from "../command.ts";
import { imageCache } from "../image-cache.ts";
import { endInstances } from "./host-remains.ts";
import { removeTree } from "./remove-tree.ts";
import { unlinkCommand } from "./link.ts";
import { isMainFleet, type UpSettings } from "./settings.ts";
import type { Steps } from "./steps.ts";
import { removeUsers } from "./users.ts";

/** Instances get their own grace; whoever purges does not wait for more than this, in milliseconds. */
const removalMs = 60_000;

/**
 * Removes every workload of every project through the API, so that instances end in order. What cannot be done so (the
 * API is down) is left to `endInstances`.
 */
export const removeWorkloads = async (settings: UpSettings): Promise<void> => {
  const token = (await readFile(settings.layout.adminToken, "utf8").catch(() => "")).trim();
  if (token === "") return;
  try {
    const of = (project: string) => createClient({ url: settings.apiUrl, token, project });
    const workloads = await Array.fromAsync(of("*").workloads.list());
    await Promise.all(
      workloads.map(async ({ id, project }) => {
        const client = of(project);
        const { id: operation } = await client.workloads.remove(id);
        await client.operations.wait(operation, { timeoutMs: removalMs });
      }),
    );
  } catch (error) {
    if (!isFleetError(error)) throw error;
  }
};

/** Removes a directory of the per-boot place when nothing else uses it. */
const removeIfEmpty = async (path: string): Promise<void> => {
  if ((await readdir(path).catch(() => ["?"])).length === 0) await rmdir(path);
};

/** Ends what still runs on this fleet's hosts and removes everything `up` made, the system users included. */
export const purge = async (invocation: Invocation, settings: UpSettings, steps: Steps): Promise<void> => {
  const { layout, config, apiUrl } = settings;
  await steps.run(
    "instances that still run",
    () => endInstances(layout),
    (ended) => (ended === 0 ? "none" : `${ended} ended`),
  );
  await steps.run(`state in ${layout.state}`, async () => {
    // A database that was killed leaves a shared memory segment, which only its directory names.
    await new PostgresServer({ dataDir: layout.postgresData, socketDir: layout.postgresSocket })[Symbol.asyncDispose]();
    await rm(layout.runUp, { recursive: true, force: true });
    await removeIfEmpty(layout.run);
    await removeTree(layout.state);
  });
  removeLocalContext(invocation.environment, config.contextName, apiUrl);
  if (isMainFleet(layout)) {
    await unlinkCommand(layout.checkout);
    await rm(imageCache, { recursive: true, force: true });
  }
  if (!invocation.options.flag("keep-users")) {
    await steps.run("system users", removeUsers, ({ inUse }) =>
      inUse.length === 0 ? "" : `${inUse.join(", ")} stay: another fleet of this machine uses them`,
    );
  }
  invocation.print("Everything `up` made is removed. Debian packages and the checkout stay.\n");
};
