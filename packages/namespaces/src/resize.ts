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
  return wanted.io !== undefined && enforcement.disk === null
    ? "io limits cannot be enforced here: the state directory is not on one disk"
    : null;
};

/**
 * Changes the limits of a running instance in place. Either everything applies or nothing does. The memory limit goes
 * first, because it alone can be refused for now. Rejects NativeError when the kernel refuses what it should take.
 */
export const resizeInPlace = async (input: ResizeInput): Promise<ResizeOutcome> => {
  const reason = infeasible(input);
  if (reason !== null) return { outcome: "infeasible", detail: reason };
  const { cgroup, mode, current, wanted } = input;
  if (wanted.memoryBytes !== current.memoryBytes) {
    const outcome = await changeMemoryLimit({
      cgroup,
      mode,
      fromBytes: current.memoryBytes,
      toBytes: wanted.memoryBytes,
    });
    if (outcome.outcome !== "applied") return outcome;
  }
  const change = resourceChange(input);
  if (Object.keys(change).length === 0) return { outcome: "applied" };
  try {
    applyResources(cgroup, change);
    return { outcome: "applied" };
  } catch (error) {
    await changeMemoryLimit({ cgroup, mode, fromBytes: wanted.memoryBytes, toBytes: current.memoryBytes });
    if (error instanceof NativeError && error.code === "EINVAL") {
      return { outcome: "infeasible", detail: `the kernel refuses the value (${error.path ?? error.step})` };
    }
    throw error;
  }
};
