import type { Assignment } from "@bulkhead/contracts";
import { Type } from "typebox";
import { Compile } from "typebox/compile";

/** What adopting a run asks of the assignment in its record; whatever stands besides in it is left as it is. */
const Recorded = Compile(
  Type.Object({
    instanceId: Type.String(),
    name: Type.String(),
    generation: Type.Integer(),
    epoch: Type.Object({ era: Type.Integer(), n: Type.Integer() }),
    imageDigest: Type.String(),
    spec: Type.Object({ resources: Type.Object({ cpuMillis: Type.Integer(), memoryBytes: Type.Integer() }) }),
    cpuIds: Type.Array(Type.Integer()),
  }),
);

/**
 * Whether an assignment that an agent of this host wrote is enough to adopt its run. It may be a later release's, with more
 * in it: a host that goes back to the release before keeps what runs.
 */
export const isRecordedAssignment = (value: unknown): value is Assignment => Recorded.Check(value);
