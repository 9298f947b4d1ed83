import type { HostId, SnapshotId, WorkloadSpec } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { demandOf, plan, type FleetHost, type ShareDemand } from "./index.ts";

const gib = 1024 ** 3;

const host = (id: string, usedCpuMillis = 0): FleetHost => ({
  id,
  name: `host-${id}`,
  version: 1,
  cordoned: false,
  labels: {},
  agents: [
    {
      isolation: "container",
      state: "ready",
      capacity: { cpuMillis: 4000, memoryBytes: 8 * gib, cpuCount: 4, instancesMax: 100 },
      enforceable: ["resources"],
      mountAllowList: [],
      foreign: false,
    },
  ],
  held: { cpuMillis: usedCpuMillis, memoryBytes: 0, instances: 0, cpuIds: [] },
});
const spec: WorkloadSpec = { image: "app", resources: { cpuMillis: 3000, memoryBytes: gib } };
const share = (hostId: string | null): ShareDemand => ({ shareId: "s", name: "data", hostId, kind: "directory" });
const place = (hosts: FleetHost[], ...shares: ShareDemand[][]) =>
  plan(
    { hosts },
    shares.map((wanted, at) => ({ instanceId: `i${at}`, demand: demandOf(spec, wanted) })),
  );

test("an instance goes where its share lies, and every other host says why not", () => {
  const { placements } = place([host("a"), host("b")], [share("b")]);
  expect(placements).toMatchObject([{ hostId: "b" }]);
  const { unplaced } = place([host("a"), host("b", 2000)], [share("b")]);
  expect(unplaced[0]?.rejections.map(({ hostId, reason }) => [hostId, reason])).toEqual([
    ["a", "share data lies on another host"],
    ["b", "needs 3000 CPU millis, 2000 are free"],
  ]);
});

test("the first user of a share decides for those in the same plan", () => {
  const { placements, unplaced } = place([host("a"), host("b")], [share(null)], [share(null)], []);
  expect(placements).toHaveLength(2);
  expect(placements.map(({ instanceId }) => instanceId)).toEqual(["i0", "i2"]);
  expect(unplaced[0]).toMatchObject({ instanceId: "i1" });
  expect(unplaced[0]?.rejections.map(({ reason }) => reason)).toContain("share data lies on another host");
});

test("what begins as a copy goes where its snapshot lies, and nowhere else", () => {
  const restoredFrom = { snapshotId: "s" as SnapshotId, hostId: "b" as HostId };
  const able = (id: string): FleetHost => {
    const { agents, ...rest } = host(id);
    return {
      ...rest,
      agents: agents.map((agent) => ({ ...agent, isolation: "vm", enforceable: ["resources", "vm"] })),
    };
  };
  const demand = demandOf({ ...spec, isolation: "vm", vm: { restoredFrom } });
  expect(plan({ hosts: [able("a"), able("b")] }, [{ instanceId: "i", demand }]).placements).toMatchObject([
    { hostId: "b" },
  ]);
  const { unplaced } = plan({ hosts: [able("a")] }, [{ instanceId: "i", demand }]);
  expect(unplaced[0]?.rejections.map(({ reason }) => reason)).toEqual(["its snapshot lies on another host"]);
});

test("copies are placed as long as their host's disk has room for theirs, what is promised included", () => {
  const { agents, ...rest } = host("b");
  const able = (diskFreeBytes: number | null): FleetHost => ({
    ...rest,
    held: { ...rest.held, diskBytes: 100 },
    agents: agents.map((agent) => ({ ...agent, isolation: "vm", enforceable: ["resources", "vm"], diskFreeBytes })),
  });
  const restoredFrom = { snapshotId: "s" as SnapshotId, hostId: "b" as HostId };
  const small: WorkloadSpec = { ...spec, isolation: "vm", resources: { cpuMillis: 1, memoryBytes: 1 } };
  const demand = demandOf({ ...small, vm: { restoredFrom } }, [], 30);
  const requests = ["i", "j", "k"].map((instanceId) => ({ instanceId, demand }));
  const { placements, unplaced } = plan({ hosts: [able(170)] }, requests);
  expect(placements.map(({ instanceId, diskBytes }) => [instanceId, diskBytes])).toEqual([
    ["i", 30],
    ["j", 30],
  ]);
  expect(unplaced.map(({ rejections }) => rejections[0]?.reason)).toEqual(["needs 30 bytes of disk, 10 are free"]);
  // An agent of a version that tells nothing of its disk decides by itself.
  expect(plan({ hosts: [able(null)] }, requests).placements.length).toBe(3);
  expect(plan({ hosts: [able(50)] }, [{ instanceId: "i", demand: demandOf(small) }]).unplaced).toEqual([]);
});

test("shares on two hosts leave no host", () => {
  const shares = [share("a"), { ...share("b"), shareId: "t", name: "other" }];
  expect(place([host("a"), host("b")], shares).unplaced[0]?.rejections.map(({ reason }) => reason)).toEqual([
    "share other lies on another host",
    "share data lies on another host",
  ]);
});
