/** Failures that have to do with the kernels of virtual machines; part of the one table in `errors.ts`. */
export const kernelErrors = {
  KERNEL_INVALID: {
    status: 422,
    retry: false,
    title: "The image holds no kernel that can be booted",
    remedy: "Build it again, for example with `bulkhead kernels build`; `detail` says what is wrong.",
  },
  KERNEL_TOO_LARGE: {
    status: 413,
    retry: false,
    title: "The kernel exceeds a limit",
    remedy: "Build it with modules instead of everything built in, and without debug information.",
  },
  KERNEL_UNKNOWN: {
    status: 422,
    retry: false,
    title: "There is no such kernel",
    remedy: "`bulkhead kernels` lists those of the project; add one, or leave `vm.kernel` out.",
  },
  KERNEL_IN_USE: {
    status: 409,
    retry: false,
    title: "The kernel is in use",
    remedy: "Delete the workloads that run on it first.",
  },
} as const;
