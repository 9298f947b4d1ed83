import type { ViewSeccomp } from "@bulkhead/contracts";
import type { Inspection, OciSeccomp } from "@bulkhead/native-namespaces";
import type { ProcessStatus } from "./process-status.ts";
import { SeccompFilters } from "./seccomp-filter.ts";

/** A number that no kernel has given away and that is not one of x32 (bit 30). */
const unnamed = 0x0fff_ffff;

const fromKernel = (filters: readonly Uint8Array[], syscalls: Readonly<Record<string, number>>) => {
  const stacked = new SeccompFilters(filters);
  const verdicts = Object.entries(syscalls).map(([name, number]) => ({ name, verdict: stacked.verdict(number) }));
  const named = (wanted: string): string[] =>
    verdicts.filter(({ verdict }) => verdict === wanted).map(({ name }) => name);
  return {
    from: "kernel" as const,
    why: null,
    allowed: named("allowed").sort(),
    conditional: named("depends").sort(),
    refused: named("refused").length,
    otherwise: stacked.describe(unnamed),
  };
};

const fromPlan = (profile: OciSeccomp, syscalls: Readonly<Record<string, number>>, why: string) => {
  const rules = (profile.syscalls ?? []).filter(({ action }) => action === "SCMP_ACT_ALLOW");
  const known = (names: Iterable<string>): string[] => [...new Set(names)].filter((name) => name in syscalls).sort();
  const refusing = new Set(
    (profile.syscalls ?? []).filter(({ action }) => action !== "SCMP_ACT_ALLOW").flatMap(({ names }) => names),
  );
  const free = known(rules.filter(({ args }) => args === undefined || args.length === 0).flatMap(({ names }) => names));
  const bound = known(rules.filter(({ args }) => args !== undefined && args.length > 0).flatMap(({ names }) => names));
  const allowed = free.filter((name) => !refusing.has(name));
  const conditional = known([...bound, ...free.filter((name) => refusing.has(name))]).filter(
    (name) => !allowed.includes(name),
  );
  return {
    from: "plan" as const,
    why,
    allowed,
    conditional,
    refused: Object.keys(syscalls).length - allowed.length - conditional.length,
    otherwise: null,
  };
};

export interface SeccompSources {
  readonly status: ProcessStatus;
  readonly inspection: Inspection;
  /** the filters were asked for */
  readonly asked: boolean;
  /** what the instance was started with */
  readonly profile: OciSeccomp;
}

/** Which system calls the first process may make: by its filters in the kernel, or by its plan, and that is said. */
export const seccompView = ({ status, inspection, asked, profile }: SeccompSources): ViewSeccomp => {
  const { seccompMode: mode, seccompFilters } = status;
  const { filters, filtersError, syscalls } = inspection;
  const base = { mode, filters: seccompFilters };
  if (mode === "disabled") {
    const allowed = Object.keys(syscalls).sort();
    return { ...base, from: "kernel", why: null, allowed, conditional: [], refused: 0, otherwise: "allowed" };
  }
  if (filters.length > 0 && filters.length === seccompFilters) return { ...base, ...fromKernel(filters, syscalls) };
  const why = !asked
    ? "the process was not to be stopped"
    : filtersError !== null
      ? filtersError.message
      : `the kernel showed ${filters.length} of ${seccompFilters} filters`;
  return { ...base, ...fromPlan(profile, syscalls, why) };
};
