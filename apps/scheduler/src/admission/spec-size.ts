import { specBytesMax, type WorkloadSpec } from "@bulkhead/contracts";
import type { Fault } from "./fault.ts";

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

/** What of a specification takes most, and how much. */
const largestMember = (spec: WorkloadSpec): { name: string; bytes: number } =>
  Object.entries(spec)
    .map(([name, value]) => ({ name, bytes: bytesOf(value) }))
    .reduce((largest, member) => (member.bytes > largest.bytes ? member : largest), { name: "", bytes: 0 });

/**
 * A specification, with its defaults, that is larger than every instance may carry. What is that large already, from before
 * there was a limit, may stay so and shrink.
 */
export const specSizeFaults = (spec: WorkloadSpec, before?: WorkloadSpec): Fault[] => {
  const bytes = bytesOf(spec);
  if (bytes <= Math.max(specBytesMax, before === undefined ? 0 : bytesOf(before))) return [];
  const { name, bytes: most } = largestMember(spec);
  const message = `takes ${bytes} bytes as JSON with its defaults, ${most} of them for ${name}; at most ${specBytesMax} fit`;
  return [{ code: "SPEC_TOO_LARGE", pointer: "/spec", message }];
};
