// One valid example of every field of the runtime specification that docs/oci.md speaks of.
import type { Config } from "./runtime.ts";

type Change = (config: Config) => void;

const process =
  (name: string, value: unknown): Change =>
  (config) =>
    (config.process[name] = value);
const linux =
  (name: string, value: unknown): Change =>
  (config) =>
    (config.linux[name] = value);
const resources = (name: string, value: unknown): Change => linux("resources", { [name]: value });
const mount =
  (...options: string[]): Change =>
  (config) =>
    config.mounts.push({ destination: "/tmp", type: "bind", source: config.root.path, options: ["bind", ...options] });
const namespace =
  (type: string, path?: string): Change =>
  (config) => {
    config.linux.namespaces = config.linux.namespaces.filter((one) => one.type !== type);
    config.linux.namespaces.push(path === undefined ? { type } : { type, path });
  };
const hook =
  (moment: string, path = "/bin/true"): Change =>
  (config) =>
    (config.hooks = { [moment]: [{ path }] });
const mapped: Change = (config) => {
  namespace("user")(config);
  for (const kind of ["uidMappings", "gidMappings"]) {
    config.linux[kind] = [{ containerID: 0, hostID: 0x6000_0000, size: 65_536 }];
  }
};

/** By name as in the page's table. */
export const fields: Record<string, Change> = {
  "process.terminal": process("terminal", false),
  "process.consoleSize": process("consoleSize", { height: 24, width: 80 }),
  "process.user": process("user", { uid: 700, gid: 701, umask: 0o22, additionalGids: [5] }),
  "process.args, env, cwd": process("cwd", "/tmp"),
  "process.capabilities": process("capabilities", { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"] }),
  "process.capabilities.inheritable": process("capabilities", { inheritable: ["CAP_KILL"] }),
  "process.rlimits": process("rlimits", [{ type: "RLIMIT_NOFILE", soft: 100, hard: 100 }]),
  "process.noNewPrivileges": process("noNewPrivileges", true),
  "process.oomScoreAdj": process("oomScoreAdj", 500),
  "process.scheduler": process("scheduler", { policy: "SCHED_BATCH" }),
  "process.ioPriority": process("ioPriority", { class: "IOPRIO_CLASS_BE", priority: 4 }),
  "process.execCPUAffinity": process("execCPUAffinity", { initial: "0", final: "0" }),
  "root.readonly": (config) => (config.root.readonly = true),
  "hostname, domainname": (config) => (config["domainname"] = "example.org"),
  annotations: (config) => (config.annotations = { "org.example": "value" }),
  "mounts of proc, sysfs, tmpfs, devpts, mqueue, cgroup": (config) =>
    config.mounts.push({ destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid"] }),
  "mounts of other file systems": (config) =>
    config.mounts.push({ destination: "/tmp", type: "nfs", source: "host:/", options: [] }),
  "mounts[].options": mount("ro", "nosuid", "nodev", "noexec", "rprivate"),
  "mounts[].options (recursive)": mount("rro", "rnosuid"),
  "mounts[].options tmpcopyup": (config) =>
    config.mounts.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] }),
  "mounts[].uidMappings, gidMappings": (config) => {
    mount("idmap")(config);
    const ids = [{ containerID: 0, hostID: 0, size: 1 }];
    Object.assign(config.mounts.at(-1)!, { uidMappings: ids, gidMappings: ids });
  },
  "hooks.prestart": hook("prestart"),
  "hooks.createRuntime": hook("createRuntime"),
  "hooks.createContainer": hook("createContainer"),
  "hooks.startContainer": hook("startContainer"),
  "hooks.poststart": hook("poststart"),
  "hooks.poststop": hook("poststop"),
  "linux.namespaces": namespace("cgroup"),
  "linux.namespaces time, linux.timeOffsets": (config) => {
    namespace("time")(config);
    linux("timeOffsets", { monotonic: { secs: 10, nanosecs: 0 } })(config);
  },
  "linux.namespaces[].path": namespace("ipc", "/proc/self/ns/ipc"),
  "linux.namespaces[].path of a mount namespace": namespace("mount", "/proc/self/ns/mnt"),
  "linux.uidMappings, gidMappings": mapped,
  "linux.devices": linux("devices", [{ path: "/dev/probe", type: "c", major: 1, minor: 3 }]),
  "linux.netDevices": linux("netDevices", {}),
  "linux.cgroupsPath": () => {},
  "linux.rootfsPropagation": linux("rootfsPropagation", "rslave"),
  "linux.maskedPaths": linux("maskedPaths", ["/proc/kcore"]),
  "linux.readonlyPaths": linux("readonlyPaths", ["/proc/sys"]),
  "linux.mountLabel": linux("mountLabel", "system_u:object_r:container_file_t:s0"),
  "linux.sysctl of a namespace": linux("sysctl", { "net.ipv4.ip_forward": "1" }),
  "linux.sysctl of the host": linux("sysctl", { "kernel.panic": "1" }),
  "linux.seccomp": linux("seccomp", { defaultAction: "SCMP_ACT_ALLOW" }),
  "linux.personality": linux("personality", { domain: "LINUX32" }),
  "linux.memoryPolicy": linux("memoryPolicy", { mode: "MPOL_BIND", nodes: "0" }),
  "linux.intelRdt": linux("intelRdt", { closID: "guaranteed" }),
  "linux.resources.memory": resources("memory", { limit: 64 << 20, reservation: 32 << 20 }),
  "linux.resources.memory.kernel, kernelTCP, useHierarchy": resources("memory", { kernel: 64 << 20 }),
  "linux.resources.cpu": resources("cpu", { shares: 512, quota: 50_000, period: 100_000, cpus: "0" }),
  "linux.resources.pids": resources("pids", { limit: 20 }),
  "linux.resources.blockIO": resources("blockIO", { throttleReadBpsDevice: [] }),
  "linux.resources.blockIO.leafWeight": resources("blockIO", { leafWeight: 100 }),
  "linux.resources.devices": resources("devices", [{ allow: false, access: "rwm" }]),
};
