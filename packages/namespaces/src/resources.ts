import type { Resources } from "@bulkhead/contracts";
import { formatCpuList, type BlockDevice } from "@bulkhead/host";
import type { OciResources } from "@bulkhead/native-namespaces";

/** CFS period, in microseconds: the kernel's default, which `minimumCpuMillis` of contracts counts on. */
export const cpuPeriodUs = 100_000;
/** Processes and threads when the spec names no number; the schema's default. */
export const defaultPidsMax = 1024;
/** cpu.shares of one whole CPU, and the bounds the kernel takes (kernel/sched/core.c, MIN_SHARES and MAX_SHARES). */
const sharesPerCpu = 1024;
const sharesRange = { minimum: 2, maximum: 262_144 };

/** What this host can enforce beyond the basics. */
export interface Enforcement {
  /** disk that block I/O limits apply to; null: not enforceable */
  readonly disk: BlockDevice | null;
  /** a weight among the disk's users exists: only with the BFQ scheduler or the io cost controller */
  readonly ioWeight: boolean;
  /** a limit on memory and swap together exists, so that nothing escapes into swap */
  readonly swap: boolean;
}

/** CPU shares for thousandths of a CPU; on cgroup2 the plan compiler turns them into a weight. */
export const sharesOf = (cpuMillis: number): number =>
  Math.min(sharesRange.maximum, Math.max(sharesRange.minimum, Math.round((cpuMillis * sharesPerCpu) / 1000)));

/** What the plan compiler makes of shares on cgroup2: quadratic in log2 through (2, 1), (1024, 100), (262,144, 10,000). */
export const weightOf = (shares: number): number => {
  if (shares <= sharesRange.minimum) return 1;
  if (shares >= sharesRange.maximum) return 10_000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
};

/** CFS quota in microseconds per period. */
export const quotaOf = (cpuLimitMillis: number): number => Math.round((cpuLimitMillis * cpuPeriodUs) / 1000);

/** io.weight (1 to 10,000) on the scale of the OCI spec (10 to 1000). */
export const blockWeightOf = (weight: number): number => Math.round(10 + ((weight - 1) * 990) / 9999);

const throttle = (disk: BlockDevice, rate: number) => [{ major: disk.major, minor: disk.minor, rate }];

const blockIoOf = (io: NonNullable<Resources["io"]>, disk: BlockDevice): NonNullable<OciResources["blockIO"]> => ({
  ...(io.weight === undefined ? {} : { weight: blockWeightOf(io.weight) }),
  ...(io.readBytesPerSec === undefined ? {} : { throttleReadBpsDevice: throttle(disk, io.readBytesPerSec) }),
  ...(io.writeBytesPerSec === undefined ? {} : { throttleWriteBpsDevice: throttle(disk, io.writeBytesPerSec) }),
  ...(io.readOpsPerSec === undefined ? {} : { throttleReadIOPSDevice: throttle(disk, io.readOpsPerSec) }),
  ...(io.writeOpsPerSec === undefined ? {} : { throttleWriteIOPSDevice: throttle(disk, io.writeOpsPerSec) }),
});

/** Memory limits; the limit holds for RAM and swap together where the kernel can count both. */
const memoryOf = (resources: Resources, enforcement: Enforcement): NonNullable<OciResources["memory"]> => ({
  limit: resources.memoryBytes,
  ...(enforcement.swap ? { swap: resources.memoryBytes } : {}),
  ...(resources.memoryReservationBytes === undefined ? {} : { reservation: resources.memoryReservationBytes }),
});

/** Device nodes every container has in /dev (null zero full random urandom tty ptmx pts); all others are refused. */
const allowedDevices = [
  [1, 3],
  [1, 5],
  [1, 7],
  [1, 8],
  [1, 9],
  [5, 0],
  [5, 2],
  [136, undefined],
] as const;

/** Device rules of cgroup v1; on cgroup2 /dev, nodev mounts and the user namespace keep devices away. */
const deviceRules: NonNullable<OciResources["devices"]> = [
  { allow: false, access: "rwm" },
  ...allowedDevices.map(([major, minor]) => ({
    allow: true,
    type: "c" as const,
    major,
    ...(minor === undefined ? {} : { minor }),
    access: "rwm",
  })),
];

/**
 * The limits of an instance in the OCI spec's form. `cpuIds` are the CPUs it is confined to; empty leaves it on those
 * its cgroup inherits.
 */
export const ociResources = (
  resources: Resources,
  cpuIds: readonly number[],
  enforcement: Enforcement,
): OciResources => ({
  cpu: {
    shares: sharesOf(resources.cpuMillis),
    ...(resources.cpuLimitMillis === undefined
      ? {}
      : { quota: quotaOf(resources.cpuLimitMillis), period: cpuPeriodUs }),
    ...(cpuIds.length === 0 ? {} : { cpus: formatCpuList(cpuIds) }),
  },
  memory: memoryOf(resources, enforcement),
  pids: { limit: resources.pidsMax ?? defaultPidsMax },
  ...(resources.io === undefined || enforcement.disk === null
    ? {}
    : { blockIO: blockIoOf(resources.io, enforcement.disk) }),
  devices: deviceRules,
});
