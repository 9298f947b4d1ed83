import type { Resources } from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { expect } from "vitest";

/** What a resize promises of a runtime, and how that is tried. */
interface ResizePromise {
  readonly promise: string;
  readonly tried: (run: Run) => Promise<void>;
}

const doubled = ({ assignment: { spec } }: Run): Resources => ({
  ...spec.resources,
  memoryBytes: spec.resources.memoryBytes * 2,
});

const changesWhatItNames: ResizePromise = {
  promise: "a resize changes what it names while the run goes on, and the contract is held",
  tried: async (run) => {
    const larger = doubled(run);
    expect(await run.resize(larger)).toEqual({ outcome: "applied" });
    expect(run.usage().memoryLimitBytes).toBe(larger.memoryBytes);
  },
};

const staysAsItIs: ResizePromise = {
  promise: "a resize is infeasible and changes nothing",
  tried: async (run) => {
    const { assignment: before } = run;
    expect(await run.resize(doubled(run))).toMatchObject({ outcome: "infeasible" });
    expect(run.assignment).toEqual(before);
    expect(run.usage().memoryLimitBytes).toBe(before.spec.resources.memoryBytes);
  },
};

/** What a runtime has to promise: that a resize changes what runs, or that nothing changes what was started. */
export const resizePromise = (resizes: boolean): ResizePromise => (resizes ? changesWhatItNames : staysAsItIs);
