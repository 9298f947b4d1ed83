export { kvmEngine } from "./engine/kvm.ts";
export { qemuEngine } from "./engine/qemu.ts";
export type { Engine } from "./engine/engine.ts";
export { GuestKernels } from "./kernel/guest-kernel.ts";
export type { GuestKernel } from "./kernel/kernel-files.ts";
export { cpioArchive, cpioDirectory, cpioFile, type CpioEntry } from "./kernel/cpio.ts";
export { modulePaths } from "./kernel/modules.ts";
export { MachineRuntime, type MachineRuntimeOptions } from "./machine-runtime.ts";
