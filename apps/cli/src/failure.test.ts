import { fleetError, type HostId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { UsageError } from "./command.ts";
import { describeError, exitCodeOf, exitCodes } from "./failure.ts";

test("everything a problem says is shown: every host's reason, the nearest value that works, the trace", () => {
  const problem = { type: "", title: "", status: 409, code: "NO_CAPACITY", detail: "d", traceId: "4bf92f" };
  const error = fleetError("NO_CAPACITY", "No host can take web-0.", {
    fields: {
      hosts: [
        { hostId: "1" as HostId, hostName: "alpha", reason: "4000 cpuMillis wanted, 1500 free" },
        { hostId: "2" as HostId, hostName: "beta", reason: "cordoned" },
      ],
      nearestFeasible: { "/spec/resources/cpuMillis": 1500 },
      errors: [{ pointer: "/spec/resources/cpuMillis", message: "too large" }],
    },
    cause: problem,
  });
  const text = describeError(error);
  for (const part of [
    "No host can take web-0. (NO_CAPACITY)",
    "host alpha: 4000 cpuMillis wanted, 1500 free",
    "host beta: cordoned",
    "nearest feasible: /spec/resources/cpuMillis = 1500",
    "/spec/resources/cpuMillis: too large",
    "what to do: See the reason of each host",
    "trace: 4bf92f",
  ]) {
    expect(text).toContain(part);
  }
});

test("an error of ours has no stack, an unexpected one has", () => {
  expect(describeError(new UsageError("wrong"))).toBe("bulkhead: wrong");
  expect(describeError(new Error("boom"))).toMatch(/boom\n +at /);
});

test.each([
  [new UsageError("x"), "usage"],
  [fleetError("API_UNREACHABLE", "x"), "unreachable"],
  [fleetError("HOST_UNREACHABLE", "x"), "unreachable"],
  [fleetError("UNAUTHENTICATED", "x"), "denied"],
  [fleetError("FORBIDDEN", "x"), "denied"],
  [fleetError("NOT_FOUND", "x"), "notFound"],
  [fleetError("IMAGE_UNAVAILABLE", "x"), "notFound"],
  [fleetError("NAME_TAKEN", "x"), "conflict"],
  [fleetError("NO_CAPACITY", "x"), "conflict"],
  [fleetError("WAIT_TIMEOUT", "x"), "timeout"],
  [fleetError("LIMIT_INFEASIBLE", "x"), "failed"],
  [new Error("x"), "failed"],
] as const)("%s exits as %s", (error, group) => {
  expect(exitCodeOf(error)).toBe(exitCodes[group].code);
});
