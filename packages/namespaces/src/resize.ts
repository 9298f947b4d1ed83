import type { Resources } from "@bulkhead/contracts";
import type { CgroupMode } from "@bulkhead/host";
import { applyResources, NativeError, type CgroupPlacement, type OciResources } from "@bulkhead/native-namespaces";
import type { ResizeOutcome } from "@bulkhead/node";
import { changeMemoryLimit } from "./memory-limit.ts";
import { cpuPeriodUs, ociResources, sharesOf, type Enforcement } from "./resources.ts";

export interface ResizeInput {
  readonly cgroup: CgroupPlacement;
  readonly mode: CgroupMode;
  readonly current: Resources;
  readonly wanted: Resources;
  readonly enforcement: Enforcement;
  /** it stands still, and is to stay so */
  readonly paused: boolean;
  /** what the host can give at most */
  readonly capacity: { readonly cpuMillis: number; readonly memoryBytes: number };
}

const differs = (a: unknown, b: unknown): boolean => JSON.stringify(a) !== JSON.stringify(b);

/** A throttle entry per kind, with rate 0 (no limit) where only the old limits had one. */
const blockIoChange = (
  before: OciResources["blockIO"],
  after: OciResources["blockIO"],
): NonNullable<OciResources["blockIO"]> => {
  const lifted = (
    name: "throttleReadBpsDevice" | "throttleWriteBpsDevice" | "throttleReadIOPSDevice" | "throttleWriteIOPSDevice",
  ) => {
    const old = before?.[name];
    return after?.[name] ?? old?.map((entry) => ({ ...entry, rate: 0 }));
  };
  const entries = {
    weight: after?.weight ?? (before?.weight === undefined ? undefined : 100),
    throttleReadBpsDevice: lifted("throttleReadBpsDevice"),
    throttleWriteBpsDevice: lifted("throttleWriteBpsDevice"),
    throttleReadIOPSDevice: lifted("throttleReadIOPSDevice"),
    throttleWriteIOPSDevice: lifted("throttleWriteIOPSDevice"),
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));
};

/** The reservation's "none" is -1 on v1 (no soft limit) and 0 on v2 (nothing protected). */
const reservationChange = (wanted: Resources, mode: CgroupMode): OciResources => {
  if (wanted.memoryReservationBytes !== undefined && wanted.memoryReservationBytes > 0) {
    return { memory: { reservation: wanted.memoryReservationBytes } };
  }
  return mode === "v2" ? { unified: { "memory.low": "0" } } : { memory: { reservation: -1 } };
};

/**
 * Only what is to change, the memory limit left out: a limit that both or neither name is not written, one that only
 * the old resources named is lifted.
 */
export const resourceChange = (
  input: Pick<ResizeInput, "current" | "wanted" | "mode" | "enforcement">,
): OciResources => {
  const { current, wanted, mode, enforcement } = input;
  const before = ociResources(current, [], enforcement);
  const after = ociResources(wanted, [], enforcement);
  const change: OciResources = {};
  if (current.cpuMillis !== wanted.cpuMillis) change.cpu = { shares: sharesOf(wanted.cpuMillis) };
  if (differs(before.cpu?.quota, after.cpu?.quota)) {
    change.cpu = { ...change.cpu, quota: after.cpu?.quota ?? -1, period: cpuPeriodUs };
  }
  if (after.pids !== undefined && differs(before.pids, after.pids)) change.pids = after.pids;
  if (differs(before.blockIO, after.blockIO)) change.blockIO = blockIoChange(before.blockIO, after.blockIO);
  return differs(current.memoryReservationBytes ?? 0, wanted.memoryReservationBytes ?? 0)
    ? { ...change, ...reservationChange(wanted, mode) }
    : change;
};

const infeasible = ({ current, wanted, capacity, enforcement }: ResizeInput): string | null => {
  if ((wanted.cpuPolicy ?? "shared") !== (current.cpuPolicy ?? "shared")) {
    return "cpuPolicy of a running instance cannot change; replace it";
  }
  if (wanted.memoryBytes > capacity.memoryBytes) {
    return `this host has ${capacity.memoryBytes} bytes for instances; that is the nearest feasible memoryBytes`;
  }
  if (wanted.cpuMillis > capacity.cpuMillis) {
    return `this host has ${capacity.cpuMillis} cpuMillis; that is the nearest feasible value`;
  }
  if (wanted.io !== undefined && enforcement.disk === null) {
    return "io limits cannot be enforced here: the state directory is not on one disk";
  }
  return wanted.io?.weight !== undefined && !enforcement.ioWeight
    ? "io.weight cannot be enforced here: the disk has no scheduler with weights (BFQ, or the io cost controller)"
    : null;
};

/**
 * Takes back what a failed change may have left: the native side restores every file that it can write back whole, and
 * those of block devices are not such files.
 */
const undoBlockIo = (input: ResizeInput): void => {
  const { blockIO } = resourceChange({ ...input, current: input.wanted, wanted: input.current });
  if (blockIO === undefined) return;
  try {
    applyResources(input.cgroup, { blockIO });
  } catch {
    // The device that refused the limit refuses to have it lifted, too.
  }
};

/**
 * Changes the limits of a running instance in place. Either everything applies or nothing does. The memory limit goes
 * first, because it alone can be refused for now. Rejects NativeError when the kernel refuses what it should take.
 */
export const resizeInPlace = async (input: ResizeInput): Promise<ResizeOutcome> => {
  const reason = infeasible(input);
  if (reason !== null) return { outcome: "infeasible", detail: reason };
  const { cgroup, mode, current, wanted, paused } = input;
  const memory = { cgroup, mode, paused, fromBytes: current.memoryBytes, toBytes: wanted.memoryBytes };
  if (memory.toBytes !== memory.fromBytes) {
    const outcome = await changeMemoryLimit(memory);
    if (outcome.outcome !== "applied") return outcome;
  }
  try {
    const change = resourceChange(input);
    if (Object.keys(change).length > 0) applyResources(cgroup, change);
    return { outcome: "applied" };
  } catch (error) {
    undoBlockIo(input);
    await changeMemoryLimit({ ...memory, fromBytes: memory.toBytes, toBytes: memory.fromBytes });
    if (error instanceof NativeError && error.code === "EINVAL") {
      return { outcome: "infeasible", detail: `the kernel refuses the value (${error.path ?? error.step})` };
    }
    throw error;
  }
};
