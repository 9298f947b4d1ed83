import type { SharedNamespaceType, WorkloadSpec } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { shareKindFaults } from "./share-rules.ts";

const faultsOf = (changes: Partial<WorkloadSpec>, ...namespaces: SharedNamespaceType[]) =>
  shareKindFaults(
    { image: "app", resources: { cpuMillis: 100, memoryBytes: 2 ** 26 }, shares: [{ share: "pod" }], ...changes },
    new Map([["pod", { kind: "namespace" as const, namespaces }]]),
  );

test("a member of a shared network namespace names a network or none", () => {
  for (const network of [undefined, "none", "backend"]) {
    expect(faultsOf(network === undefined ? {} : { network }, "network")).toEqual([]);
  }
});

test("the host's network is not for a member of a shared one", () => {
  expect(faultsOf({ network: "host" }, "network")).toEqual([
    {
      code: "REQUEST_INVALID",
      pointer: "/spec/network",
      message: "cannot be host: its network namespace is the one it shares",
    },
  ]);
  expect(faultsOf({ network: "host" }, "ipc")).toEqual([]);
});

test("who names a network is one instance, and members without are as many as one likes", () => {
  expect(faultsOf({ network: "backend", replicas: 2 }, "network")).toEqual([
    {
      code: "REQUEST_INVALID",
      pointer: "/spec/replicas",
      message: "is 1 at most: one instance can connect the network namespace that it shares",
    },
  ]);
  expect(faultsOf({ replicas: 2 }, "network")).toEqual([]);
  expect(faultsOf({ network: "backend", replicas: 2 }, "uts")).toEqual([]);
});
