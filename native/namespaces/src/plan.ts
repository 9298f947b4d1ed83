import { addon } from "./addon.ts";
import { unwrap } from "./error.ts";
import type { OciSpec } from "./oci.ts";

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
  /** For tests and benchmarks. `faultStep` is honoured by fault-injection builds of bulkhead-init only. */
  testing?: { trace?: boolean; attachLayers?: boolean; faultStep?: string };
}

export interface Plan {
  readonly bytes: Uint8Array;
  readonly warnings: readonly string[];
}

/** Throws NativeError with step "plan.<JSON pointer>" for anything that init would not accept. */
export function compilePlan(input: PlanInput): Plan {
  return unwrap(addon.compile("container", JSON.stringify(input)));
}
