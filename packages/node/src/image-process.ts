import type { ImageConfig, WorkloadSpec } from "@bulkhead/contracts";
import { StartFailure } from "./runtime.ts";
import { signalNumber } from "./signals.ts";

/** What to run, after the spec's own words have replaced the image's. */
export interface ProcessPlan {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  /** as written in spec or image; looked up inside the root */
  readonly user: string;
  readonly stopSignal: number;
}

/** Where programs are looked for when neither image nor spec says: Debian's default for root. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** SIGTERM, unless the image names another signal. */
const defaultStopSignal = 15;

const argsOf = (spec: WorkloadSpec, image: ImageConfig): readonly string[] => {
  const args =
    spec.command === undefined
      ? [...image.entrypoint, ...(spec.args ?? image.cmd)]
      : [...spec.command, ...(spec.args ?? [])];
  if (args.length > 0) return args;
  throw new StartFailure(
    "EntrypointNotFound",
    "the image has neither entrypoint nor command, and the spec names no command",
  );
};

/** The later of two values for one name wins; names keep the order in which they first appear. */
const environmentOf = (entries: Iterable<readonly [string, string]>): string[] =>
  [...new Map(entries)].map(([name, value]) => `${name}=${value}`);

const split = (entry: string): [string, string] => {
  const equals = entry.indexOf("=");
  return [entry.slice(0, equals), entry.slice(equals + 1)];
};

/**
 * The process of an instance: `command` replaces the image's entrypoint and command, `args` only its command; variables
 * of the spec outrank the image's, which outrank PATH and HOSTNAME. HOME is left to init, which knows the user's.
 * Throws StartFailure when there is nothing to run or the image's stop signal is none.
 */
export const processOf = (spec: WorkloadSpec, image: ImageConfig, hostname: string): ProcessPlan => {
  const stopSignal = image.stopSignal === null ? defaultStopSignal : signalNumber(image.stopSignal);
  if (stopSignal === null) {
    throw new StartFailure("ImageInvalid", `the image's stop signal "${image.stopSignal}" is no signal`);
  }
  const workingDir = spec.workingDir ?? image.workingDir;
  return {
    args: argsOf(spec, image),
    env: environmentOf([
      ["PATH", defaultPath],
      ["HOSTNAME", hostname],
      ...image.env.map(split),
      ...Object.entries(spec.env ?? {}),
    ]),
    cwd: workingDir.startsWith("/") ? workingDir : `/${workingDir}`,
    user: spec.user ?? image.user,
    stopSignal,
  };
};
