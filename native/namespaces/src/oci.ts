// The part of the OCI runtime specification (1.2) that the plan compiler reads. Unknown members are ignored.

export interface OciUser {
  uid: number;
  gid: number;
  additionalGids?: readonly number[];
  umask?: number;
}

export interface OciCapabilities {
  bounding?: readonly string[];
  permitted?: readonly string[];
  effective?: readonly string[];
  inheritable?: readonly string[];
  ambient?: readonly string[];
}

export interface OciRlimit {
  type: string;
  soft: number;
  hard: number;
}

export interface OciScheduler {
  policy: string;
  nice?: number;
  priority?: number;
  flags?: readonly string[];
  /** Nanoseconds, for SCHED_DEADLINE. */
  runtime?: number;
  deadline?: number;
  period?: number;
}

export interface OciProcess {
  args: readonly string[];
  env?: readonly string[];
  cwd: string;
  user?: OciUser;
  capabilities?: OciCapabilities;
  rlimits?: readonly OciRlimit[];
  noNewPrivileges?: boolean;
  oomScoreAdj?: number;
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  apparmorProfile?: string;
  selinuxLabel?: string;
  scheduler?: OciScheduler;
  ioPriority?: { class: string; priority?: number };
  /** CPU lists for a process added to a running container: until it has joined its cgroup, and after. */
  execCPUAffinity?: { initial?: string; final?: string };
}

export interface OciMount {
  destination: string;
  type?: string;
  source?: string;
  options?: readonly string[];
  /** Maps of an id-mapped bind; without them it is seen with the container's ids. */
  uidMappings?: readonly OciIdMapping[];
  gidMappings?: readonly OciIdMapping[];
}

export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface OciNamespace {
  type: "mount" | "pid" | "network" | "ipc" | "uts" | "user" | "cgroup" | "time";
  path?: string;
}

export interface OciDevice {
  path: string;
  type: "c" | "u" | "b";
  major: number;
  minor: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface OciThrottle {
  major: number;
  minor: number;
  rate: number;
}

export interface OciDeviceRule {
  allow: boolean;
  type?: "a" | "b" | "c";
  major?: number;
  minor?: number;
  access?: string;
}

export interface OciResources {
  memory?: { limit?: number; swap?: number; reservation?: number; swappiness?: number; disableOOMKiller?: boolean };
  cpu?: {
    shares?: number;
    quota?: number;
    period?: number;
    burst?: number;
    idle?: number;
    cpus?: string;
    mems?: string;
    realtimeRuntime?: number;
    realtimePeriod?: number;
  };
  pids?: { limit: number };
  blockIO?: {
    weight?: number;
    throttleReadBpsDevice?: readonly OciThrottle[];
    throttleWriteBpsDevice?: readonly OciThrottle[];
    throttleReadIOPSDevice?: readonly OciThrottle[];
    throttleWriteIOPSDevice?: readonly OciThrottle[];
  };
  hugepageLimits?: readonly { pageSize: string; limit: number }[];
  devices?: readonly OciDeviceRule[];
  /** cgroup v2 files by name; only on hosts with v2 alone. */
  unified?: Readonly<Record<string, string>>;
}

export interface OciSeccompArgument {
  index: number;
  value: number;
  valueTwo?: number;
  op: string;
}

export interface OciSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  /** Unix socket that gets the notification descriptor of SCMP_ACT_NOTIFY with a ContainerProcessState. */
  listenerPath?: string;
  listenerMetadata?: string;
  flags?: readonly string[];
  syscalls?: readonly {
    names: readonly string[];
    action: string;
    errnoRet?: number;
    args?: readonly OciSeccompArgument[];
  }[];
}

export interface OciLinux {
  namespaces?: readonly OciNamespace[];
  uidMappings?: readonly OciIdMapping[];
  gidMappings?: readonly OciIdMapping[];
  resources?: OciResources;
  seccomp?: OciSeccomp;
  maskedPaths?: readonly string[];
  readonlyPaths?: readonly string[];
  sysctl?: Readonly<Record<string, string>>;
  devices?: readonly OciDevice[];
  rootfsPropagation?: string;
  personality?: { domain: "LINUX" | "LINUX32"; flags?: readonly string[] };
  memoryPolicy?: { mode: string; nodes?: string; flags?: readonly string[] };
  timeOffsets?: Readonly<Partial<Record<"monotonic" | "boottime", { secs?: number; nanosecs?: number }>>>;
}

export interface OciSpec {
  ociVersion?: string;
  process: OciProcess;
  root?: { path?: string; readonly?: boolean };
  hostname?: string;
  domainname?: string;
  mounts?: readonly OciMount[];
  annotations?: Readonly<Record<string, string>>;
  linux?: OciLinux;
}
