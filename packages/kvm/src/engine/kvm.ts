import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import { monitorPath, sharingPath } from "@bulkhead/native-kvm";
import { cardDescriptor } from "@bulkhead/node";
import { monitorStandstill } from "../control/monitor-standstill.ts";
import { connectVsock } from "../guest/vsock.ts";
import { nodesOf } from "../machine-nodes.ts";
import { engineRoot } from "./engine-root.ts";
import { fileServer, hasFileServer, serverFiles, socketOf, withServers } from "./file-server.ts";
import { kvmDevice, lateMemoryDevices } from "./kvm-devices.ts";
import { kernelWords, machineFiles, type Engine, type MachineOutcome, type MachinePlan } from "./engine.ts";

/** Port at which a guest's agent listens (native/guest/src/channel.c). */
const agentPort = 1024;

const device = (words: string): string[] => ["--device", words];

const disk = (name: string, words = ""): string[] => device(`block,file=/machine/${name},id=${name}${words}`);

/** Its first CPUs are its processors', one each; what is left of them is the monitor's own threads'. */
const placesOf = ({ cpuIds, cpus, memoryPolicy }: MachinePlan): string[][] => {
  if (cpuIds.length < cpus) return [];
  const others = cpuIds.slice(cpus);
  const nodes = memoryPolicy === "locked" ? nodesOf(cpuIds.slice(0, cpus)) : [];
  return [
    ["--pin", cpuIds.slice(0, cpus).join(",")],
    others.length === 0 ? [] : ["--loop-cpus", others.join(",")],
    nodes.length === 0 ? [] : ["--memory-nodes", nodes.join(",")],
  ];
};

/** What goes on has its kernel, its processors and its size from what it was. */
const beginningOf = ({ origin, cpus, memoryMib }: MachinePlan, words: readonly string[]): string[] =>
  "state" in origin
    ? ["--restore", "/machine/state", "--memory", "/machine/memory"]
    : [
        ["--kernel", "/machine/kernel", "--initramfs", "/machine/initramfs"],
        // A kernel that cannot go on resets by the keyboard controller, and so is told from one that faulted to its end.
        ["--command-line", [...kernelWords, "reboot=k", ...words].join(" ")],
        ["--cpus", String(cpus), "--memory-mib", String(memoryMib)],
      ].flat();

const argumentsOf = (plan: MachinePlan, words: readonly string[]): string[] =>
  [
    beginningOf(plan, words),
    ...placesOf(plan),
    plan.memoryPolicy === "locked" ? ["--locked"] : [],
    plan.hugepages ? ["--hugepages"] : [],
    ["--serial", "fd:2", "--control", "/machine/ports/control", "--quiet"],
    disk("image", ",readonly"),
    disk("scratch"),
    disk("settings", ",readonly"),
    disk("report"),
    device("ports,stdout=fd:1,stderr=fd:2"),
    device("vsock,cid=3,listen=/machine/ports/vsock"),
    device("entropy"),
    ...plan.shared.map((directory) => device(`files,tag=${directory.tag},socket=${socketOf(directory)}`)),
    plan.card === null ? [] : device(`net,mac=${plan.card.mac},mtu=${plan.card.mtu},frames=fd:${cardDescriptor}`),
  ].flat();

/**
 * A disk's ring. What a program could do with it is more than with any other call, so containers do not have it; the
 * monitor restricts its ring to reading, writing and flushing one file before a guest runs, and can make none afterwards.
 */
const ringCalls = ["io_uring_setup", "io_uring_register", "io_uring_enter"] as const;

/** Where its guest's memory comes from, before the guest runs. */
const policyCalls = ["mbind", "get_mempolicy"] as const;

/** What a monitor locks beside its guest's memory, in bytes: rings that it shares with the kernel. */
const lockedBesides = 16 * 2 ** 20;

/** Exit codes of the monitor: 10 and the outcome's number in native/kvm/src/devices/ending.h. */
const outcomes: Readonly<Record<number, MachineOutcome>> = {
  0: "powered-off",
  1: "not-started",
  2: "not-started",
  12: "reset",
  13: "triple-fault",
  14: "instruction-not-emulated",
  15: "cpu-failed",
  17: "kernel-panic",
  18: "image-lost",
};

/**
 * By `npm run bench -- vm-overhead-lab`: a quarter of a MiB under load, whatever the guest's RAM, of what nobody can take
 * away. The rest is for what it does not see, and is chosen: KVM's tables in the kernel, buffers of connections, file
 * servers and the page cache of disks. A MiB is mapped by 2 KiB of the process's page tables and as much of the guest's,
 * twice, where large pages are not to be had. The share of a CPU is chosen: times of an emulated host say nothing of it.
 */
const overhead = { overheadBytes: 32 * 2 ** 20, overheadBytesPerMib: 8192, emulatorMillis: 100 } as const;

interface KvmEngineOptions {
  /** for its root */
  readonly directory: string;
  /** what this host's guests are told besides */
  readonly kernelWords?: readonly string[];
}

/** Our own monitor on the host's KVM. */
export const kvmEngine = ({ directory, kernelWords: words = [] }: KvmEngineOptions): Engine => ({
  name: "kvm",
  overhead,
  holdsPlaces: true,
  holdsShares: hasFileServer(),
  prepare: async (signal) => {
    const built = await stat(monitorPath).catch(() => null);
    if (built === null) throw fleetError("SETUP_FAILED", `${monitorPath} is not there; it is built by npm run build.`);
    const parts = [
      built,
      ...(await Promise.all([fileServer, sharingPath].map((path) => stat(path).catch(() => null)))),
    ];
    const versions = parts.map((file) => `${file?.size} ${file?.mtimeMs}`).join(" ");
    const version = createHash("sha256").update(versions).digest("hex").slice(0, 12);
    const files = async () => [{ from: monitorPath, to: "/bulkhead-vmm" }, ...(await serverFiles(signal))];
    return [await engineRoot({ directory, name: `kvm-${version}`, program: "bulkhead-vmm", files }, signal)];
  },
  program: (root, plan) => ({
    root,
    ...withServers(plan.shared, ["/bulkhead-vmm", ...argumentsOf(plan, words)]),
    files: machineFiles(plan),
    // What goes on has no kernel to read.
    devices: [kvmDevice, ...("state" in plan.origin ? [] : lateMemoryDevices())],
    systemCalls: [...ringCalls, ...policyCalls],
    sharesCpus: true,
    ...(plan.memoryPolicy === "locked" ? { lockedBytes: plan.memoryMib * 2 ** 20 + lockedBesides } : {}),
  }),
  connect: (ports) => connectVsock({ directory: ports, name: "vsock" }, agentPort),
  outcomeOf: (exitCode) => outcomes[exitCode] ?? null,
  standstill: monitorStandstill,
});
