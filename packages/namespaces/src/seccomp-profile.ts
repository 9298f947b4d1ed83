import type { OciSeccomp } from "@bulkhead/native-namespaces";
import { commonSyscalls, syscallsOfCapability } from "./syscalls.ts";

/** EPERM: what a program gets that calls something it may not. */
const eperm = 1;
/** ENOSYS: makes C libraries fall back from clone3, whose flags lie in memory that a filter cannot read, to clone. */
const enosys = 38;
/** CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: namespaces inside a container need CAP_SYS_ADMIN (linux/sched.h). */
const namespaceFlags = 0x7e02_0000;
/** Families refused by number (linux/socket.h): AF_ALG reaches the kernel's crypto, AF_VSOCK the hypervisor; no
 * namespace divides either. */
const refusedFamilies = [38, 40];
/**
 * All families below 64 (AF_MAX is 46) but the refused ones, as [first, how many], each a power of two at a multiple
 * of itself: one masked comparison each. Rules that overlap no other mean the same under every runtime.
 */
const allowedFamilies = [
  [0, 32],
  [32, 4],
  [36, 2],
  [39, 1],
  [41, 1],
  [42, 2],
  [44, 4],
  [48, 16],
] as const;
/** EAFNOSUPPORT: programs take it as "this machine has no such family" and go on. */
const eafnosupport = 97;
/** socket(2) looks at 32 bits of its first argument only, so a comparison of all 64 could be walked around. */
const low32Bits = 0xffff_ffff;
/** CLONE_FS: a thread's own working directory and umask, which is no namespace. */
const fileState = 0x200;
/** personality(2) values without security effect: Linux, 32-bit Linux, both with UNAME26, and the query. */
const harmlessPersonalities = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

type Rule = NonNullable<OciSeccomp["syscalls"]>[number];

const onArgument = (name: string, argument: NonNullable<Rule["args"]>[number], action: Partial<Rule>): Rule => ({
  names: [name],
  action: "SCMP_ACT_ALLOW",
  args: [argument],
  ...action,
});

/** Profiles by capabilities: most instances share one, and it has hundreds of names. */
const made = new Map<string, OciSeccomp>();
const madeMax = 64;

/** What a program of ours may do besides. */
export interface ProfileChanges {
  readonly systemCalls?: readonly string[] | undefined;
  /** a thread may leave the working directory and umask of the others */
  readonly ownFileState?: boolean | undefined;
}

/**
 * The default profile for a set of capabilities, in the OCI runtime-spec's form: everything is refused but the listed
 * calls, each capability adds the calls it is for, and a program of ours those that it names.
 */
export const defaultSeccomp = (capabilities: readonly string[], ofProgram: ProfileChanges = {}): OciSeccomp => {
  const { systemCalls = [], ownFileState = false } = ofProgram;
  const key = [capabilities.join(), systemCalls.join(), ownFileState].join(" ");
  const known = made.get(key);
  if (known !== undefined) return known;
  if (made.size >= madeMax) made.clear();
  const profile = build(capabilities, systemCalls, ownFileState);
  made.set(key, profile);
  return profile;
};

const build = (capabilities: readonly string[], ofProgram: readonly string[], ownFileState: boolean): OciSeccomp => {
  const added = capabilities.flatMap((name) => syscallsOfCapability[name]?.names ?? []);
  const names = new Set([...commonSyscalls.flatMap((group) => group.names), ...added, ...ofProgram]);
  const unconditional = [...names].filter((name) => name !== "socket").sort();
  const rules: Rule[] = [
    { names: unconditional, action: "SCMP_ACT_ALLOW" },
    ...refusedFamilies.map((family) =>
      onArgument(
        "socket",
        { index: 0, value: low32Bits, valueTwo: family, op: "SCMP_CMP_MASKED_EQ" },
        { action: "SCMP_ACT_ERRNO", errnoRet: eafnosupport },
      ),
    ),
    ...allowedFamilies.map(([first, count]) =>
      onArgument("socket", { index: 0, value: low32Bits - (count - 1), valueTwo: first, op: "SCMP_CMP_MASKED_EQ" }, {}),
    ),
    ...harmlessPersonalities.map((value) => onArgument("personality", { index: 0, value, op: "SCMP_CMP_EQ" }, {})),
  ];
  if (!names.has("clone")) {
    rules.push(onArgument("clone", { index: 0, value: namespaceFlags, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }, {}));
  }
  if (!names.has("clone3")) rules.push({ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: enosys });
  if (ownFileState && !names.has("unshare")) {
    rules.push(
      onArgument("unshare", { index: 0, value: low32Bits - fileState, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }, {}),
    );
  }
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: eperm,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls: rules,
  };
};
