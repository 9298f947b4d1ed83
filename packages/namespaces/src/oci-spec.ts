import { join } from "node:path";
import type { WorkloadSpec } from "@bulkhead/contracts";
import type { UidRange } from "@bulkhead/host";
import type { OciMount, OciNamespace, OciProcess, OciResources, OciSpec } from "@bulkhead/native-namespaces";
import type { AdmittedMount, AdmittedTmpfs } from "./admission.ts";
import { capabilitySets, defaultCapabilities } from "./capabilities.ts";
import { defaultMounts, hostNetworkMounts, maskedPaths, readonlyPaths } from "./default-mounts.ts";
import type { JailedDevice, JailedFile, JailedProgram, ProcessPlan } from "@bulkhead/node";
import type { SharedMount } from "./shares/admit-share.ts";
import { defaultSeccomp } from "./seccomp-profile.ts";

/** A file of the instance's own that is shown inside, read-only. */
export interface ProvidedFile {
  readonly source: string;
  readonly destination: string;
}

export interface SpecInput {
  readonly hostname: string;
  /** namespaces of others that it enters, its user namespace among them */
  readonly joins?: readonly OciNamespace[];
  readonly process: ProcessPlan;
  readonly resources: OciResources;
  readonly uidRange: UidRange;
  readonly mounts: readonly AdmittedMount[];
  readonly tmpfs: readonly AdmittedTmpfs[];
  readonly shares: readonly SharedMount[];
  readonly files: readonly ProvidedFile[];
  /** what a program of ours sees and opens beside that */
  readonly jail?: Omit<JailedProgram, "root" | "args"> | undefined;
  readonly options: WorkloadSpec["container"];
  /** the host's own network instead of one of its own */
  readonly hostNetwork?: boolean;
  /** hard limit on open files that the agent itself has; a child cannot have more */
  readonly openFilesMax: number;
}

export interface BuiltSpec {
  readonly spec: OciSpec;
  /** confinement of bind mounts by index in `spec.mounts`, in the shape the plan compiler takes */
  readonly binds: Readonly<Record<number, { beneath: string; idmap: boolean }>>;
}

/** Soft limit on open files: what select(2) can handle; programs that know better raise it to the hard one. */
const openFilesSoft = 1024;
/** Hard limit as Docker's; without one some programs close millions of descriptors one by one. */
const openFilesHard = 1_048_576;

const namespaces = ["mount", "pid", "network", "ipc", "uts", "cgroup", "user"] as const;

/** Namespaces of its own that an instance has. */
export const namespacesOf = (hostNetwork: boolean): (typeof namespaces)[number][] =>
  namespaces.filter((type) => !hostNetwork || type !== "network");

const bindOf = ({ hostPath, path, readOnly }: AdmittedMount): OciMount => ({
  destination: path,
  type: "bind",
  source: hostPath,
  options: ["rbind", "rprivate", "nosuid", "nodev", readOnly ? "rro" : "rw"],
});

const shareOf = ({ source, path, readOnly, executable }: SharedMount): OciMount => ({
  destination: path,
  type: "bind",
  source: join(source.beneath, source.source),
  options: ["bind", "rprivate", "nosuid", "nodev", ...(executable ? [] : ["noexec"]), readOnly ? "ro" : "rw"],
});

const tmpfsOf = ({ path, sizeBytes, mode, executable }: AdmittedTmpfs): OciMount => ({
  destination: path,
  type: "tmpfs",
  source: "tmpfs",
  options: ["nosuid", "nodev", ...(executable ? [] : ["noexec"]), `mode=${mode}`, `size=${sizeBytes}`],
});

const providedOf = ({ source, destination }: ProvidedFile): OciMount => ({
  destination,
  type: "bind",
  source,
  options: ["bind", "rprivate", "nosuid", "nodev", "noexec", "ro"],
});

const jailedOf = ({ hostPath, path, writable }: JailedFile): OciMount => ({
  destination: path,
  type: "bind",
  source: hostPath,
  options: ["bind", "rprivate", "nosuid", "nodev", "noexec", writable ? "rw" : "ro"],
});

/** Device nodes of a jailed program, which its root alone may open. */
const devicesOf = (devices: readonly JailedDevice[]) =>
  devices.map((device) => ({ ...device, type: "c" as const, fileMode: 0o600, uid: 0, gid: 0 }));

const rulesOf = (devices: readonly JailedDevice[]) =>
  devices.map(({ major, minor }) => ({ allow: true, type: "c" as const, major, minor, access: "rw" }));

/** Where a container and what joins it may change files, in the shape that the plan compiler takes. */
export const confinementOf = (options: WorkloadSpec["container"]): { writable?: readonly string[] } =>
  options?.writable === undefined ? {} : { writable: options.writable };

/** The OCI process of a plan: no new privileges, empty inheritable and ambient sets. */
export const ociProcess = (plan: ProcessPlan, input: Pick<SpecInput, "options" | "openFilesMax">): OciProcess => {
  const hard = Math.min(openFilesHard, input.openFilesMax);
  return {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args: [...plan.args],
    env: [...plan.env],
    cwd: plan.cwd,
    capabilities: capabilitySets(input.options?.capabilities ?? defaultCapabilities),
    rlimits: [
      { type: "RLIMIT_NOFILE", soft: Math.min(openFilesSoft, hard), hard },
      // No core files, and 1 instead of 0 because the kernel ignores every other value for a core_pattern that pipes into
      // a program (fs/coredump.c): that one runs on the host, as root, on the instance's memory.
      { type: "RLIMIT_CORE", soft: 1, hard: 1 },
    ],
    noNewPrivileges: true,
  };
};

/** Raised from outside: in a user namespace no capability does, nor is a program given any. */
const lockable = (bytes: number | undefined): NonNullable<OciProcess["rlimits"]> =>
  bytes === undefined ? [] : [{ type: "RLIMIT_MEMLOCK", soft: bytes, hard: bytes }];

/**
 * The OCI runtime-spec of an instance: everything it will see and may do. Pure. User binds come after the provided
 * files, so that a user may replace /etc/hosts with a file of theirs.
 */
export const buildSpec = (input: SpecInput): BuiltSpec => {
  const shared = input.hostNetwork === true;
  // What is wanted on /dev/shm stands in for the instance's own.
  const wanted = new Set([...input.tmpfs, ...input.shares].map(({ path }) => path));
  const own = (shared ? hostNetworkMounts : defaultMounts).filter(({ destination }) => !wanted.has(destination));
  const { files = [], devices = [] } = input.jail ?? {};
  const fixed = [...own, ...input.tmpfs.map(tmpfsOf), ...input.files.map(providedOf), ...files.map(jailedOf)];
  const capabilities = input.jail?.capabilities ?? input.options?.capabilities ?? defaultCapabilities;
  const process = ociProcess(input.process, {
    ...input,
    options: { ...input.options, capabilities: [...capabilities] },
  });
  const confined = [
    ...input.mounts.map((mount) => ({ mount: bindOf(mount), beneath: mount.root, idmap: true })),
    ...input.shares.map((share) => ({
      mount: shareOf(share),
      beneath: share.source.beneath,
      idmap: share.idMapped,
    })),
  ];
  const mounts = [...fixed, ...confined.map(({ mount }) => mount)];
  const joined = new Map((input.joins ?? []).map((join) => [join.type, join]));
  const mapping = [{ containerID: 0, hostID: input.uidRange.firstId, size: input.uidRange.ids }];
  return {
    spec: {
      ociVersion: "1.2.0",
      process: { ...process, rlimits: [...(process.rlimits ?? []), ...lockable(input.jail?.lockedBytes)] },
      root: { path: "rootfs", readonly: input.options?.readOnlyRoot ?? false },
      ...(joined.has("uts") ? {} : { hostname: input.hostname }),
      mounts,
      linux: {
        namespaces: namespacesOf(shared).map((type) => joined.get(type) ?? { type }),
        uidMappings: mapping,
        gidMappings: mapping,
        resources: { ...input.resources, devices: [...(input.resources.devices ?? []), ...rulesOf(devices)] },
        ...(devices.length === 0 ? {} : { devices: devicesOf(devices) }),
        seccomp: defaultSeccomp(capabilities, input.jail),
        maskedPaths: [...maskedPaths],
        readonlyPaths: [...readonlyPaths],
        // A port below 1024 of the instance's own network is no privilege on the host.
        ...(shared || joined.has("network") ? {} : { sysctl: { "net.ipv4.ip_unprivileged_port_start": "0" } }),
      },
    },
    binds: Object.fromEntries(
      confined.map(({ beneath, idmap }, offset) => [fixed.length + offset, { beneath, idmap }]),
    ),
  };
};
