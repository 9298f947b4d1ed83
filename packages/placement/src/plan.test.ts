import type { WorkloadSpec } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { demandOf, largestHost, plan, type FleetAgent, type FleetHost } from "./index.ts";

const gib = 1024 ** 3;

const agent = (changes: Partial<FleetAgent> = {}): FleetAgent => ({
  isolation: "container",
  state: "ready",
  capacity: { cpuMillis: 4000, memoryBytes: 8 * gib, cpuCount: 4, instancesMax: 100 },
  enforceable: ["resources"],
  mountAllowList: [],
  foreign: false,
  ...changes,
});

const host = (id: string, changes: Partial<FleetHost> = {}): FleetHost => ({
  id,
  name: `host-${id}`,
  version: 7,
  cordoned: false,
  labels: {},
  agents: [agent()],
  held: { cpuMillis: 0, memoryBytes: 0, instances: 0, cpuIds: [] },
  ...changes,
});

const spec = (changes: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  image: "app",
  resources: { cpuMillis: 1000, memoryBytes: gib },
  ...changes,
});

const place = (hosts: FleetHost[], ...specs: WorkloadSpec[]) =>
  plan(
    { hosts },
    specs.map((wanted, at) => ({ instanceId: `i${at}`, demand: demandOf(wanted) })),
  );

const reasonOn = (hosts: FleetHost[], wanted: WorkloadSpec): string | undefined =>
  place(hosts, wanted).unplaced[0]?.rejections[0]?.reason;

describe("filters, each with its reason", () => {
  test.each([
    ["cordoned", host("a", { cordoned: true }), spec(), "cordoned"],
    ["no agent of the kind", host("a"), spec({ isolation: "vm" }), "runs no vm agent"],
    ["suspect", host("a", { agents: [agent({ state: "suspect" })] }), spec(), "its container agent is suspect"],
    ["foreign", host("a", { agents: [agent({ foreign: true })] }), spec(), "obeys another control plane"],
    [
      "label",
      host("a", { labels: { zone: "west" } }),
      spec({ constraints: { hostLabels: { zone: "east" } } }),
      "label zone is west, wanted east",
    ],
    [
      "missing label",
      host("a"),
      spec({ constraints: { hostLabels: { zone: "east" } } }),
      "label zone is not set, wanted east",
    ],
    [
      "field",
      host("a", { agents: [agent({ enforceable: ["resources.cpuMillis", "resources.memoryBytes"] })] }),
      spec({ resources: { cpuMillis: 10, memoryBytes: gib, io: { weight: 5 } } }),
      "cannot enforce resources.io.weight",
    ],
    [
      "mount",
      host("a"),
      spec({ mounts: [{ hostPath: "/srv", path: "/data" }] }),
      "/srv is not below its mount allow-list",
    ],
    [
      "mount beside an allowed name",
      host("a", { agents: [agent({ mountAllowList: ["/srv"] })] }),
      spec({ mounts: [{ hostPath: "/srv2", path: "/data" }] }),
      "/srv2 is not below its mount allow-list",
    ],
    [
      "mount that climbs out",
      host("a", { agents: [agent({ mountAllowList: ["/srv"] })] }),
      spec({ mounts: [{ hostPath: "/srv/../etc", path: "/data" }] }),
      "/srv/../etc is not below its mount allow-list",
    ],
    [
      "cpu",
      host("a", { held: { cpuMillis: 3500, memoryBytes: 0, instances: 1, cpuIds: [] } }),
      spec(),
      "needs 1000 CPU millis, 500 are free",
    ],
    [
      "memory",
      host("a", { held: { cpuMillis: 0, memoryBytes: 8 * gib - 5, instances: 1, cpuIds: [] } }),
      spec(),
      `needs ${gib} bytes of memory, 5 are free`,
    ],
    [
      "more held than the host has",
      host("a", { held: { cpuMillis: 9000, memoryBytes: 0, instances: 1, cpuIds: [] } }),
      spec(),
      "needs 1000 CPU millis, 0 are free",
    ],
    [
      "instances",
      host("a", { held: { cpuMillis: 0, memoryBytes: 0, instances: 100, cpuIds: [] } }),
      spec(),
      "has no room for another instance",
    ],
    [
      "dedicated CPUs",
      host("a", { held: { cpuMillis: 0, memoryBytes: 0, instances: 1, cpuIds: [2, 3] } }),
      spec({ resources: { cpuMillis: 2000, memoryBytes: gib, cpuPolicy: "dedicated" } }),
      "needs 2 whole CPUs, 1 can be dedicated",
    ],
  ])("%s", (_name, where, wanted, reason) => {
    expect(reasonOn([where], wanted)).toBe(reason);
  });

  test("a path of the host's list covers what is below it, for fields and for mounts", () => {
    const able = host("a", { agents: [agent({ enforceable: ["resources"], mountAllowList: ["/srv/"] })] });
    const wanted = spec({
      resources: { cpuMillis: 10, memoryBytes: gib, io: { weight: 5 } },
      mounts: [{ hostPath: "/srv/data", path: "/data" }],
    });
    expect(place([able], wanted).placements).toHaveLength(1);
  });

  test("every host is named, in order, up to the limit", () => {
    const hosts = ["c", "a", "b"].map((id) => host(id, { cordoned: true }));
    const request = [{ instanceId: "i", demand: demandOf(spec()) }];
    expect(plan({ hosts }, request).unplaced[0]?.rejections.map((row) => row.hostId)).toEqual(["a", "b", "c"]);
    expect(plan({ hosts }, request, { rejectionsMax: 2 }).unplaced[0]?.rejections).toHaveLength(2);
  });

  test("an empty fleet leaves everything unplaced without a reason", () => {
    expect(place([], spec()).unplaced).toEqual([{ instanceId: "i0", rejections: [] }]);
  });
});

describe("virtual machines cost what their monitors use besides", () => {
  const kvm = { name: "kvm", overheadBytes: 1000, overheadBytesPerMib: 2, emulatorMillis: 100 } as const;
  const qemu = { name: "qemu", overheadBytes: 5000, overheadBytesPerMib: 3, emulatorMillis: 250 } as const;
  const enforceable = ["resources", "vm.engine.kvm", "vm.engine.qemu"];
  const vmHost = (cpuMillis: number, memoryBytes: number, engines: FleetAgent["engines"] = [kvm, qemu]): FleetHost =>
    host("a", {
      agents: [
        agent({
          isolation: "vm",
          capacity: { cpuMillis, memoryBytes, cpuCount: 4, instancesMax: 9 },
          enforceable,
          engines,
        }),
      ],
    });
  const machine = (changes: Partial<WorkloadSpec> = {}) => spec({ isolation: "vm", ...changes });

  test("the first engine's, or those of the engine asked for", () => {
    const [first] = place([vmHost(4000, 8 * gib)], machine()).placements;
    expect(first).toMatchObject({ cpuMillis: 1100, memoryBytes: gib + 1024 * 2 + 1000 });
    const [asked] = place([vmHost(4000, 8 * gib)], machine({ vm: { engine: "qemu" } })).placements;
    expect(asked).toMatchObject({ cpuMillis: 1250, memoryBytes: gib + 1024 * 3 + 5000 });
  });

  test("what fits to the byte fits, one less does not, and the reason tells the monitor's part", () => {
    const needs = gib + 1024 * 2 + 1000;
    expect(place([vmHost(1100, needs)], machine()).placements).toHaveLength(1);
    expect(reasonOn([vmHost(1100, needs - 1)], machine())).toBe(
      `needs ${needs} bytes of memory (3048 of it its monitor's), ${needs - 1} are free`,
    );
    expect(reasonOn([vmHost(1099, needs)], machine())).toBe(
      "needs 1100 CPU millis (100 of it its monitor's), 1099 are free",
    );
  });

  test("each takes its monitor's part from the next", () => {
    const room = 2 * (gib + 1024 * 2 + 1000);
    const { placements, unplaced } = place([vmHost(4000, room)], machine(), machine(), machine());
    expect(placements).toHaveLength(2);
    expect(unplaced[0]?.rejections[0]?.reason).toMatch(/, 0 are free$/);
  });

  test("on a fleet of different hosts, each by its own engine", () => {
    const other = { ...vmHost(4000, gib + 1024 * 2 + 1000, [qemu]), id: "b", name: "host-b" };
    const { placements, unplaced } = place([vmHost(4000, gib + 1024 * 2 + 1000, [kvm]), other], machine(), machine());
    expect(placements.map(({ hostId }) => hostId)).toEqual(["a"]);
    expect(unplaced[0]?.rejections.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/3048 of it its monitor's.*, 0 are free/),
      expect.stringContaining(`${1024 * 3 + 5000} of it its monitor's`),
    ]);
  });

  test("a guest has whole large pages, so no more is counted", () => {
    const resources = { cpuMillis: 1000, memoryBytes: gib + 2 ** 21 - 1 };
    expect(place([vmHost(4000, 8 * gib)], machine({ resources })).placements[0]?.memoryBytes).toBe(gib + 3048);
  });

  test("a host without an engine takes none; one that tells of none counts none", () => {
    expect(reasonOn([vmHost(4000, 8 * gib, [])], machine())).toBe("has no engine for virtual machines");
    expect(place([vmHost(1000, gib, null)], machine()).placements[0]).toMatchObject({ cpuMillis: 1000 });
  });
});

describe("choice", () => {
  test("fills the fuller host first", () => {
    const fuller = host("b", { held: { cpuMillis: 2000, memoryBytes: 4 * gib, instances: 1, cpuIds: [] } });
    expect(place([host("a"), fuller], spec()).placements[0]?.hostId).toBe("b");
  });

  test("keeps the scarce resource usable: avoids leaving CPU without memory when CPU is scarce", () => {
    // Both hosts have two CPUs left; plain best fit would take `a`, and strand its CPU without memory.
    const a = host("a", { held: { cpuMillis: 2000, memoryBytes: 6.9 * gib, instances: 1, cpuIds: [] } });
    const b = host("b", { held: { cpuMillis: 2500, memoryBytes: 5 * gib, instances: 1, cpuIds: [] } });
    const busy = host("c", { held: { cpuMillis: 4000, memoryBytes: 0, instances: 1, cpuIds: [] } });
    expect(place([a, b, busy], spec({ resources: { cpuMillis: 100, memoryBytes: gib } })).placements[0]?.hostId).toBe(
      "b",
    );
  });

  test("equal hosts: the lowest id, whatever the order of the snapshot", () => {
    expect(place([host("b"), host("a")], spec()).placements[0]?.hostId).toBe("a");
  });

  test("reports the versions of the hosts it used, only those", () => {
    expect([...place([host("a"), host("b")], spec()).readVersions]).toEqual([["a", 7]]);
  });

  test("each placement takes from the next; the last one is left over", () => {
    const { placements, unplaced } = place([host("a")], ...Array.from({ length: 5 }, () => spec()));
    expect(placements).toHaveLength(4);
    expect(unplaced).toMatchObject([
      {
        instanceId: "i4",
        rejections: [{ hostId: "a", hostName: "host-a", reason: "needs 1000 CPU millis, 0 are free" }],
      },
    ]);
  });

  test("dedicated CPUs: whole ones from the top, never the same twice, one stays shared", () => {
    const dedicated = (cpuMillis: number) =>
      spec({ resources: { cpuMillis, memoryBytes: gib, cpuPolicy: "dedicated" } });
    const { placements, unplaced } = place([host("a")], dedicated(1500), dedicated(1000), dedicated(1000));
    expect(placements.map((found) => found.cpuIds)).toEqual([[2, 3], [1]]);
    expect(placements[0]?.cpuMillis).toBe(2000);
    expect(unplaced).toHaveLength(1);
  });
});

test("largestHost takes each resource from the host that has most of it, and counts absent hosts", () => {
  const wide = agent({ capacity: { cpuMillis: 64_000, memoryBytes: gib, cpuCount: 64, instancesMax: 1 } });
  const hosts = [host("a"), host("b", { agents: [{ ...wide, state: "unknown" }] })];
  expect(largestHost({ hosts }, "container")).toEqual({ cpuMillis: 64_000, memoryBytes: 8 * gib, dedicatedCpus: 63 });
  expect(largestHost({ hosts }, "vm")).toBeUndefined();
});
