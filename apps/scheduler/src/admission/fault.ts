import { type ErrorCode, type Problem, fleetError } from "@bulkhead/contracts";

/** The most basic failure names the answer; the others are listed with it. */
const order = [
  "REQUEST_INVALID",
  "SPEC_TOO_LARGE",
  "FIELD_NOT_APPLICABLE",
  "LIMIT_INFEASIBLE",
] as const satisfies ErrorCode[];

/** One thing wrong with a request, found by a rule that a schema cannot express. */
export interface Fault {
  readonly code: (typeof order)[number];
  /** RFC 6901 pointer into the body */
  readonly pointer: string;
  readonly message: string;
  /** field and the value that would do */
  readonly nearest?: NonNullable<Problem["nearestFeasible"]>;
}

/** Throws one problem that lists all faults; does nothing without any. */
export const assertNoFaults = (faults: readonly Fault[]): void => {
  const code = order.find((candidate) => faults.some((fault) => fault.code === candidate));
  if (code === undefined) return;
  const nearestFeasible = Object.assign({}, ...faults.map(({ nearest }) => nearest ?? {})) as Record<string, number>;
  throw fleetError(code, `${faults.map(({ pointer, message }) => `${pointer} ${message}`).join("; ")}.`, {
    fields: {
      errors: faults.map(({ pointer, message }) => ({ pointer, message })),
      ...(Object.keys(nearestFeasible).length === 0 ? {} : { nearestFeasible }),
    },
  });
};
