import { mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import type { MachinePaths } from "../machine-paths.ts";

/** An empty directory for the files of a run, which goes with its test. */
export const runPlace = async (): Promise<AsyncDisposable & { readonly paths: MachinePaths }> => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-run-");
  const run = directory.path;
  const paths: MachinePaths = {
    root: run,
    run,
    scratch: join(run, "scratch"),
    record: join(run, "record"),
    settings: join(run, "settings"),
    report: join(run, "report"),
    ports: join(run, "ports"),
  };
  return { paths, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
};
