import { createHash } from "node:crypto";
import { addon } from "./addon.ts";
import { unwrap } from "./error.ts";
import type { OciSeccomp, OciSpec } from "./oci.ts";

export interface RootfsOverlay {
  kind: "overlay";
  /** Absolute directories, topmost first. */
  layers: readonly string[];
  upper: string;
  work: string;
}

export interface RootfsDirectory {
  kind: "directory";
  path: string;
}

export interface CgroupPlacement {
  /** controller -> absolute directory of this instance; "unified" is the cgroup2 one, alone on a host with v2 only */
  paths: Readonly<Record<string, string>>;
}

export interface LogTarget {
  path: string;
  /** A file that would grow above this is rotated; at least 32768. */
  maxBytes: number;
  /** Files kept, the current one included. */
  maxFiles: number;
}

export interface PlanInput {
  spec: OciSpec;
  rootfs: RootfsOverlay | RootfsDirectory;
  cgroup: CgroupPlacement;
  /** Per-boot directory of the instance; the shim writes `status` and `exit` there. */
  runDir: string;
  /** null: stdio as given to start(). */
  log: LogTarget | null;
  lease: { page: string; leaseMs: number } | null;
  /** The user as the image writes it, looked up inside its root; overrides spec.process.user. */
  imageUser?: string;
  /** Who the container is to seccomp listeners and in its keyring's name. */
  state?: { id: string; bundle: string };
  /** false: the starter's session keyring stays; otherwise the container gets its own. */
  keyring?: boolean;
  /**
   * Absolute paths inside the container: it changes files below these alone (and below /dev and /proc) and makes no
   * mount, whatever it is inside. By Landlock; a start where the kernel has none fails.
   */
  writable?: readonly string[];
  /** Mount index -> the directory that its source must lie beneath, and whether it is seen with the container's ids. */
  binds?: Readonly<Record<number, { beneath: string; idmap: boolean }>>;
  /** init announces its network namespace and waits until start()'s `connect` has resolved. */
  awaitNetwork?: boolean;
  /** How many descriptors its program gets, from 3 on; they come with the plan. */
  descriptors?: number;
  /** For tests and benchmarks. `faultStep` is honoured by fault-injection builds of bulkhead-init only. */
  testing?: { trace?: boolean; attachLayers?: boolean; faultStep?: string } | undefined;
}

/** What a container's first process needs to be there before its plan: it must say the same. */
export interface BirthInput {
  namespaces: readonly string[];
  cgroup: CgroupPlacement;
  /** Nobody waits for it yet: all its cgroups are made before it, and none when its plan comes. */
  ahead?: true;
  /** For tests and benchmarks, as a plan's. */
  testing?: { trace?: boolean; faultStep?: string } | undefined;
}

export interface Plan {
  readonly bytes: Uint8Array;
  readonly warnings: readonly string[];
}

/** Throws NativeError with step "plan.<JSON pointer>". */
export function compileBirth(input: BirthInput): Uint8Array {
  return unwrap(addon.compile("birth", JSON.stringify(input))).bytes;
}

/** Names of profiles by their content; a profile is an object that nobody changes. */
const profileKeys = new WeakMap<OciSeccomp, string>();

const keyOf = (profile: OciSeccomp): string => {
  const known = profileKeys.get(profile);
  if (known !== undefined) return known;
  const key = createHash("sha256").update(JSON.stringify(profile)).digest("base64");
  profileKeys.set(profile, key);
  return key;
};

/**
 * Throws NativeError with step "plan.<JSON pointer>" for anything that init would not accept. A seccomp profile, the
 * largest part of a specification by far, is passed on only when the compiler does not have it.
 */
export function compilePlan(input: PlanInput): Plan {
  const { linux } = input.spec;
  if (linux?.seccomp === undefined) return unwrap(addon.compile("container", JSON.stringify(input)));
  const { seccomp, ...others } = linux;
  const seccompKey = keyOf(seccomp);
  const brief = { ...input, seccompKey, spec: { ...input.spec, linux: others } };
  const compiled = addon.compile("container", JSON.stringify(brief));
  if (compiled.ok || compiled.step !== "plan./seccompKey") return unwrap(compiled);
  return unwrap(addon.compile("container", JSON.stringify({ ...input, seccompKey })));
}
