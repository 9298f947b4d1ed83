/** Capabilities by bit (linux/capability.h). */
const capabilityNames =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
   NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
   SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
   MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`
    .split(/\s+/)
    .map((name) => `CAP_${name}`);

/** Names of a set as /proc/PID/status writes it, 16 hex digits; a bit newer than this release is named by its number. */
export const capabilitiesOf = (hex: string): string[] => {
  const bits = BigInt(`0x${hex}`);
  return Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => ((bits >> BigInt(bit)) & 1n) === 1n)
    .map((bit) => capabilityNames[bit] ?? `CAP_${bit}`);
};

export interface ProcessStatus {
  /** host's numbers */
  readonly uid: number;
  readonly gid: number;
  readonly capabilities: {
    readonly effective: string[];
    readonly permitted: string[];
    readonly inheritable: string[];
    readonly bounding: string[];
    readonly ambient: string[];
  };
  readonly noNewPrivileges: boolean;
  readonly seccompMode: "disabled" | "strict" | "filter";
  readonly seccompFilters: number;
}

const seccompModes = ["disabled", "strict", "filter"] as const;

/** Reads /proc/PID/status (proc(5)). */
export const parseProcessStatus = (text: string): ProcessStatus => {
  const fields = new Map(
    text.split("\n").map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  );
  const field = (name: string): string => fields.get(name) ?? "";
  const set = (name: string): string[] => capabilitiesOf(field(name) === "" ? "0" : field(name));
  // Real, effective, saved, file system.
  const effectiveId = (name: string): number => Number(field(name).split(/\s+/)[1]);
  return {
    uid: effectiveId("Uid"),
    gid: effectiveId("Gid"),
    capabilities: {
      effective: set("CapEff"),
      permitted: set("CapPrm"),
      inheritable: set("CapInh"),
      bounding: set("CapBnd"),
      ambient: set("CapAmb"),
    },
    noNewPrivileges: field("NoNewPrivs") === "1",
    seccompMode: seccompModes[Number(field("Seccomp"))] ?? "disabled",
    seccompFilters: Number(field("Seccomp_filters") || "0"),
  };
};
