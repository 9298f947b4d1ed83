// The compact plan: everything a start needs, validated, with nothing left to parse but lengths.
//
// The compiler fills these structs (compile.h), the codec turns them into bytes and back (codec.h), init obeys them.
// Text and arrays are views; the codec checks every length, NUL and count, so init may trust the result.
#pragma once

#include <cstdint>

#include "sys/span.h"

namespace bulkhead::plan {

/**
 * One `write(value)` to `file` of a cgroup directory. "a|b" is the first of both files that exists, with the value
 * "x|y" for each; "?a" need not exist; a value that begins with "$" begins with the file's first word instead.
 */
struct CgroupWrite {
  Str file;
  Str value;
};

enum CgroupFlag : uint32_t {
  kCgroupUnified = 1,  // the cgroup2 directory: joined by CLONE_INTO_CGROUP
  kCgroupCpuset = 2,   // v1: cpus and mems must be copied from the parent before a process may join
  kCgroupMemory = 4,   // its OOM counter decides `oomKilled`
  kCgroupCheck = 8,    // v2: a limit below what is in use is refused instead of enforced (memory.checkBeforeUpdate)
};

struct CgroupDirectory {
  Str path;
  /** Mount name below /sys/fs/cgroup, for the cgroup mount inside ("memory", "cpu,cpuacct", "unified"). */
  Str controllers;
  uint32_t flags = 0;
  Span<CgroupWrite> writes;
  /** v2: instructions of the program that decides about devices; empty: none. */
  Span<uint64_t> deviceProgram;
};

struct IdMap {
  uint32_t inside = 0;
  uint32_t outside = 0;
  uint32_t count = 0;
};

/** `remount` changes the mount that is at its place already. */
enum class MountKind : uint8_t { bind, proc, sysfs, devpts, mqueue, tmpfs, cgroup, dev, remount };
inline constexpr uint8_t kMountKinds = 9;

struct MountOption {
  Str key;
  /** Empty: a flag. */
  Str value;
};

enum MountFlag : uint32_t {
  kMountRecursive = 1,     // rbind: take the source's submounts too
  kMountRecursiveIds = 2,  // ridmap: the submounts are id-mapped as well
  kMountIdMapped = 4,      // seen with the container's ids, or by the mount's own maps
  kMountConfined = 8,      // `source` is relative to `beneath` and may not leave it
  kMountCopyUp = 16,       // tmpcopyup: what the place holds is copied into the new tmpfs
  kMountIsProc = 32,       // a bind that must be the root of a procfs
  kMountIsSysfs = 64,      // a bind that must be a sysfs
};

struct Mount {
  MountKind kind = MountKind::bind;
  uint32_t flags = 0;
  /** Relative to the container's root, without "." or "..". */
  Str destination;
  Str source;
  Str beneath;
  uint64_t attributesSet = 0;
  uint64_t attributesClear = 0;
  /** rro and friends: the same for the mount and its submounts. */
  uint64_t recursiveSet = 0;
  uint64_t recursiveClear = 0;
  /** MS_*, with MS_REC for the submounts too; 0: private. */
  uint64_t propagation = 0;
  Span<MountOption> options;
  /** Own maps of an id-mapped mount; empty: the container's. */
  Span<IdMap> uidMap;
  Span<IdMap> gidMap;
};

struct Device {
  Str path;  // relative to /dev
  uint32_t mode = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct Sysctl {
  Str path;  // relative to /proc/sys
  Str value;
};

struct Limit {
  uint32_t resource = 0;
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct NamespaceJoin {
  uint32_t type = 0;  // CLONE_NEW*
  Str path;
};

/** A clock of the container's own time namespace. */
struct TimeOffset {
  Str clock;  // "monotonic" or "boottime"
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
};

struct BpfInstruction {
  uint16_t code = 0;
  uint8_t jumpTrue = 0;
  uint8_t jumpFalse = 0;
  uint32_t operand = 0;
};

struct Seccomp {
  uint32_t flags = 0;  // SECCOMP_FILTER_FLAG_*
  Span<BpfInstruction> program;
  /** Unix socket that gets the notification descriptor; empty: no call is asked about. */
  Str listenerPath;
  /** ContainerProcessState (runtime-spec) up to the number of the process, which ends it. */
  Str stateBefore;
};

enum SchedulingFlag : uint32_t {
  kScheduler = 1,
  kIoPriority = 2,
  kPersonality = 4,
  kMemoryPolicy = 8,
};

/** How the kernel runs a process. */
struct Scheduling {
  uint32_t flags = 0;
  // struct sched_attr
  uint32_t policy = 0;
  uint64_t policyFlags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtimeNs = 0;
  uint64_t deadlineNs = 0;
  uint64_t periodNs = 0;
  /** As ioprio_set(2) takes it. */
  uint32_t ioPriority = 0;
  uint32_t personality = 0;
  /** MPOL_* and its flags, as set_mempolicy(2) takes them. */
  uint32_t memoryMode = 0;
  Span<uint64_t> memoryNodes;
};

enum ProcessFlag : uint32_t {
  kProcessNoNewPrivileges = 1,
  kProcessImageUser = 2,  // resolve `imageUser` in the container's passwd and group
  kProcessTerminal = 4,
  kProcessOomScore = 8,
  kProcessUmask = 16,
  kProcessNewKeyring = 32,
  kProcessConfined = 64,  // writes nothing but below `writablePaths` (Landlock)
};

struct Process {
  uint32_t flags = 0;
  Span<Str> arguments;
  Span<Str> environment;
  Str workingDirectory;
  Str imageUser;
  uint32_t uid = 0;
  uint32_t gid = 0;
  Span<uint32_t> groups;
  uint32_t umask = 022;
  int32_t oomScore = 0;
  uint64_t boundingSet = 0;
  uint64_t permittedSet = 0;
  /** Also the inheritable set: the kernel wants them there, and nothing else ever is. */
  uint64_t ambientSet = 0;
  Span<Limit> limits;
  /** Bit set of CPUs, 64 per word; empty: every CPU the cpuset allows. */
  Span<uint64_t> affinity;
  /** execCPUAffinity.initial: where an exec runs until it has joined its cgroup. */
  Span<uint64_t> firstAffinity;
  Scheduling scheduling;
  Str appArmorProfile;
  Str seLinuxLabel;
  /** Name of the new session keyring; empty: it has none. */
  Str keyring;
  Seccomp seccomp;
  Span<Str> writablePaths;
  uint16_t rows = 0;
  uint16_t columns = 0;
  /** Descriptors from init's kPreservedFd on that the program gets as 3, 4, ... */
  uint32_t preservedFds = 0;
};

/** A program of the host (or of the container) that runs at one moment of a container's life. */
struct Hook {
  Str path;
  Span<Str> arguments;
  Span<Str> environment;
  uint32_t timeoutSeconds = 0;  // 0: none
};

enum class RootKind : uint8_t { overlay, directory };

struct Root {
  RootKind kind = RootKind::directory;
  uint8_t readOnly = 0;
  /** Overlay lower layers, topmost first; or the one directory. */
  Span<Str> layers;
  Str upper;
  Str work;
  uint64_t propagation = 0;
};

enum PlanFlag : uint32_t {
  kPlanTrace = 1,          // time every step and report the table
  kPlanAttachLayers = 2,   // always attach layers before mounting, as kernels before 6.13 need
  kPlanUnattended = 4,     // no shim stays; a container waits at its gate (init/gate.h) until it is started
  kPlanAnnounced = 8,      // the caller is told, and waited for, before the child leaves the host's root
  kPlanIntoFrozen = 32,    // an exec joins a frozen container too, and goes on when that is thawed
  kPlanTheirRoot = 64,     // an exec enters its target's root, which is not the one of its mount namespace
  kPlanAhead = 128,        // a birth that nobody waits for yet: all its cgroups are made before it
  kPlanAwaitNetwork = 16,  // tell the caller when the network namespace is there, and wait until it is connected
};

/** More than this cannot be handed on to a program. */
inline constexpr uint32_t kMaxPreservedFds = 128;
/** Most of them that come with the plan, of a program with a shim. */
inline constexpr uint32_t kMaxHandedFds = 8;

/**
 * What a container's first process needs to be born: it may wait in its namespaces and cgroups for the plan that says
 * the rest, which must then be of the same namespaces and cgroups.
 */
struct Birth {
  uint32_t flags = 0;       // kPlanTrace, kPlanAhead
  uint32_t namespaces = 0;  // CLONE_NEW* to create
  /** Without writes: limits come with the plan. */
  Span<CgroupDirectory> cgroups;
  /** Testing only, as a container's. */
  Str faultStep;
};

/** A container to be made and watched. */
struct Container {
  uint32_t flags = 0;
  uint32_t namespaces = 0;  // CLONE_NEW* to create
  Span<NamespaceJoin> joins;
  Span<IdMap> uidMap;
  Span<IdMap> gidMap;
  Span<CgroupDirectory> cgroups;
  Root root;
  Span<Mount> mounts;
  Span<Device> devices;
  Span<Str> maskedPaths;
  Span<Str> readOnlyPaths;
  Span<Sysctl> sysctls;
  Str hostname;
  Str domainname;
  Span<TimeOffset> timeOffsets;
  Process process;
  Str runDirectory;
  Str logPath;  // empty: stdio stays as given
  uint64_t logMaxBytes = 0;
  uint32_t logMaxFiles = 0;
  Str leasePage;  // empty: no lease
  uint64_t leaseMs = 0;
  Span<Hook> createContainerHooks;
  Span<Hook> startContainerHooks;
  /** Testing only: the step that must fail, honoured by builds with BULKHEAD_FAULTS. */
  Str faultStep;
};

/** A process to be added to a running container. */
struct Exec {
  uint32_t flags = 0;
  uint32_t targetPid = 0;
  uint64_t targetTicks = 0;
  Span<CgroupDirectory> cgroups;
  Process process;
};

}  // namespace bulkhead::plan
