import { describe, expect, test } from "vitest";
import { outcomeOf, type OperationView } from "./operation-outcome.ts";

const view = (changes: Partial<OperationView>): OperationView => ({
  id: "o",
  kind: "workload.create",
  project: "default",
  targetType: "workload",
  targetId: "w",
  progress: null,
  traceId: null,
  workloadExists: true,
  workloadDeleting: false,
  total: 3,
  reached: 0,
  refused: 0,
  failure: null,
  ...changes,
});
const failure = { name: "web-1", reason: "EntrypointNotFound", detail: "/x is missing", resize: null };

describe("outcomeOf", () => {
  test.each<[string, Partial<OperationView>, object]>([
    ["a create whose instances all ran", { reached: 3 }, { state: "succeeded" }],
    ["a create that goes on", { reached: 1 }, { state: "running", progress: "1 of 3 instances" }],
    [
      "a create that waits for room",
      { reached: 1, refused: 2 },
      { state: "running", progress: "1 of 3 instances; no host can take 2" },
    ],
    [
      "a create with an instance that cannot start",
      { reached: 1, failure },
      { state: "failed", error: { code: "EXEC_FAILED", message: "web-1: EntrypointNotFound: /x is missing" } },
    ],
    ["a create without instances", { total: 0 }, { state: "succeeded" }],
    [
      "a create of what was deleted",
      { workloadDeleting: true },
      { state: "failed", error: { code: "STATE_CONFLICT" } },
    ],
    [
      "a create of what is gone",
      { workloadExists: false, total: 0 },
      { state: "failed", error: { code: "STATE_CONFLICT" } },
    ],
    [
      "an update that cannot be applied",
      {
        kind: "workload.update",
        failure: { ...failure, resize: { generation: 2, outcome: "infeasible", detail: "in use" } },
      },
      { state: "failed", error: { code: "LIMIT_INFEASIBLE", message: "web-1: in use" } },
    ],
    [
      "a failure without a row of its own",
      { failure: { ...failure, reason: "DiskFull", detail: null } },
      { state: "failed", error: { code: "RUNTIME_FAILED", message: "web-1: DiskFull" } },
    ],
    ["a deletion that goes on", { kind: "workload.delete" }, { state: "running", progress: "3 instances are left" }],
    ["a deletion that is done", { kind: "workload.delete", workloadExists: false, total: 0 }, { state: "succeeded" }],
    ["a stop of what is gone", { kind: "instance.stop", total: 0 }, { state: "succeeded" }],
    ["a stop that goes on", { kind: "instance.stop", total: 1 }, { state: "running" }],
    ["a kill that is done", { kind: "instance.kill", total: 1, reached: 1 }, { state: "succeeded" }],
    ["a restart that is done", { kind: "instance.restart", total: 1, reached: 1 }, { state: "succeeded" }],
    [
      "a restart of what is gone",
      { kind: "instance.restart", total: 0 },
      { state: "failed", error: { code: "NOT_FOUND" } },
    ],
    [
      "a restart that failed",
      { kind: "instance.restart", total: 1, failure },
      { state: "failed", error: { code: "EXEC_FAILED" } },
    ],
    [
      "a pause of what ended meanwhile",
      { kind: "instance.pause", total: 1, failure: { ...failure, reason: "Exited" } },
      { state: "failed", error: { code: "STATE_CONFLICT" } },
    ],
    ["a resume that goes on", { kind: "instance.resume", total: 1 }, { state: "running" }],
  ])("%s", (_name, changes, outcome) => {
    expect(outcomeOf(view(changes))).toMatchObject(outcome);
  });
});
