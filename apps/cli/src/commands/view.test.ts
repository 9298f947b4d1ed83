import type { InstanceView } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { differences, factsOf } from "./view-lines.ts";

const mount = (target: string, mode: "ro" | "rw"): InstanceView["mounts"][number] => ({
  target,
  source: "overlay",
  type: "overlay",
  root: "/",
  device: "0:1",
  mode,
  options: ["nosuid", "noatime"],
  propagation: "private",
  peerGroup: null,
  idMapped: false,
  share: target === "/data" ? "data" : null,
});

const view = (inode: number, mounts: InstanceView["mounts"], allowed: string[]): InstanceView => ({
  instanceId: "01890000-0000-7000-8000-000000000001" as InstanceView["instanceId"],
  name: "web-0",
  at: "2026-01-01T00:00:00.000Z",
  pid: 7,
  processes: 1,
  mounts,
  namespaces: [
    { type: "net", inode, own: true, instances: [], hostProcesses: { count: 0, examples: [] } },
    { type: "time", inode: 1, own: false, instances: [], hostProcesses: { count: 9, examples: [] } },
  ],
  unreadable: 0,
  devices: { nodes: [], allowed: null },
  capabilities: { effective: ["CAP_CHOWN"], permitted: [], inheritable: [], bounding: [], ambient: [] },
  ids: { uid: 0, gid: 0, uidMap: [] },
  seccomp: {
    mode: "filter",
    filters: 1,
    from: "kernel",
    why: null,
    allowed,
    conditional: ["clone"],
    refused: 3,
    otherwise: null,
  },
  security: { noNewPrivileges: true, modules: null, label: null, writable: null },
  sockets: [],
  limits: [{ controller: "pids", file: "pids.max", value: "64" }],
  truncated: [],
});

test("a fact is a line that a person can read", () => {
  const facts = factsOf(view(4, [mount("/", "rw"), mount("/data", "ro")], ["read"]));
  expect(facts).toContainEqual({ section: "MOUNTS", about: "/data", value: "ro overlay share data nosuid private" });
  expect(facts).toContainEqual({ section: "NAMESPACES", about: "net", value: "4 its own" });
  expect(facts).toContainEqual({ section: "NAMESPACES", about: "time", value: "1 shared with 9 host processes" });
  expect(facts).toContainEqual({ section: "LIMITS", about: "pids.max", value: "64 (pids)" });
});

test("of a shared network namespace it is said who has connected it", () => {
  const instanceId = "01890000-0000-7000-8000-000000000002" as InstanceView["instanceId"];
  const shared: InstanceView["namespaces"][number] = {
    type: "net",
    inode: 4,
    own: false,
    instances: [{ instanceId, name: "server-0" }],
    share: "pod",
    hostProcesses: { count: 1, examples: [] },
  };
  const lineOf = (namespace: typeof shared): string | undefined =>
    factsOf({ ...view(4, [], []), namespaces: [namespace] }).find(({ about }) => about === "net")?.value;
  expect(lineOf(shared)).toBe("4 shared with server-0, 1 host processes by share pod");
  const connected = { instanceId, name: "server-0", network: "lan", addresses: ["10.7.0.2", "fd00::2"] };
  expect(lineOf({ ...shared, connected })).toBe(
    "4 shared with server-0, 1 host processes by share pod; server-0 connects it to lan as 10.7.0.2, fd00::2",
  );
});

test("two instances alike in all but their numbers do not differ", () => {
  expect(differences(view(4, [mount("/", "rw")], ["read"]), view(5, [mount("/", "rw")], ["read"]))).toEqual([]);
});

test("what only one has, and what both have differently, are told", () => {
  const left = view(4, [mount("/", "rw"), mount("/data", "ro")], ["read", "mount"]);
  const right = view(5, [mount("/", "ro")], ["read"]);
  expect(differences(left, right)).toEqual([
    { section: "MOUNTS", about: "/", left: "rw overlay nosuid private", right: "ro overlay nosuid private" },
    { section: "MOUNTS", about: "/data", left: "ro overlay share data nosuid private", right: "-" },
    { section: "SYSTEM CALLS", about: "allowed", left: "2", right: "1" },
    { section: "SYSTEM CALLS", about: "mount", left: "allowed", right: "-" },
  ]);
});

test("of a machine its channels are told, with their uses or that nobody counts them", () => {
  const channel = { name: "serial port", at: "0x3f8-0x3ff", queues: null };
  const machine: InstanceView["machine"] = {
    engine: "kvm",
    channels: [
      { kind: "port", ...channel, uses: 12 },
      { kind: "hypercall", name: "the host's KVM", at: null, queues: null, uses: null },
    ],
    exits: { portReads: 1, portWrites: 2, memoryReads: 3, memoryWrites: 4, unclaimed: 5 },
    threads: [{ kind: "processor", count: 2, calls: ["ioctl", "read"] }],
    files: [{ target: "/machine/scratch", mode: "rw", count: 1 }],
    systemCalls: { reads: 6, writes: 7 },
    uncounted: ["hypercalls: no counter"],
  };
  const container = view(4, [], ["read"]);
  const facts = factsOf({ ...container, machine });
  expect(facts).toContainEqual({ section: "CHANNELS", about: "serial port port", value: "0x3f8-0x3ff, 12 times" });
  expect(facts).toContainEqual({ section: "CHANNELS", about: "the host's KVM hypercall", value: "not counted" });
  expect(facts).toContainEqual({ section: "MACHINE", about: "processor threads", value: "2, which may ioctl read" });
  expect(differences(container, { ...container, machine })).toContainEqual(
    expect.objectContaining({ section: "OPEN FILES", about: "/machine/scratch", left: "-", right: "rw 1" }),
  );
});
