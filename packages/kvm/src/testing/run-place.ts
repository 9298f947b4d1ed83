import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import type { MachinePaths } from "../machine-paths.ts";

/** Places of a run's files, all but its root in one directory. */
export const pathsOf = (root: string, run: string): MachinePaths => ({
  root,
  run,
  scratch: join(run, "scratch"),
  record: join(run, "record"),
  settings: join(run, "settings"),
  report: join(run, "report"),
  ports: join(run, "ports"),
});

/** An empty directory for the files of a run, which goes with its test. */
export const runPlace = async (): Promise<AsyncDisposable & { readonly paths: MachinePaths }> => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-run-");
  const paths = pathsOf(directory.path, directory.path);
  return { paths, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
};
