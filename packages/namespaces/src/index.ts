export { defaultCapabilities } from "./capabilities.ts";
export { defaultMounts, maskedPaths, readonlyPaths } from "./default-mounts.ts";
export { buildSpec, type BuiltSpec, type SpecInput } from "./oci-spec.ts";
export { ociResources, type Enforcement } from "./resources.ts";
export type { ImageSource, RuntimeLog } from "./ports.ts";
export { ContainerRuntime, type ContainerRuntimeOptions } from "./runtime.ts";
export { defaultSeccomp } from "./seccomp-profile.ts";
