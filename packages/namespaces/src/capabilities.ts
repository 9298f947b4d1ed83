/**
 * Capabilities of a container's root in its own user namespace unless the spec names others. The set of Docker: what
 * servers that start as root and then drop to a user need, and nothing that acts on the host.
 */
export const defaultCapabilities: readonly string[] = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

/** Every capability of Linux 6.x (linux/capability.h); others in a spec are a typing error, not a wish. */
export const knownCapabilities: ReadonlySet<string> = new Set([
  ...defaultCapabilities,
  ...`AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND BPF CHECKPOINT_RESTORE DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE
      LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE NET_ADMIN NET_BROADCAST PERFMON SYSLOG SYS_ADMIN SYS_BOOT SYS_MODULE
      SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`
    .split(/\s+/)
    .map((name) => `CAP_${name}`),
]);

/** The five sets of the OCI spec. Inheritable and ambient stay empty: a file capability must not add to them. */
export const capabilitySets = (names: readonly string[]): Record<string, string[]> => ({
  bounding: [...names],
  effective: [...names],
  permitted: [...names],
  inheritable: [],
  ambient: [],
});
