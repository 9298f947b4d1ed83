/** Rows of the error table about networks; a part of `errors`, which is the table. */
export const networkErrors = {
  NETWORK_IN_USE: {
    status: 409,
    retry: false,
    title: "The network is in use",
    remedy: "Delete the workloads that use it first.",
  },
  NETWORK_OVERLAPS: {
    status: 409,
    retry: false,
    title: "The range overlaps another network's",
    remedy: "Choose another range, or none: then a free one is chosen.",
  },
  NETWORK_RANGES_EXHAUSTED: {
    status: 409,
    retry: false,
    title: "No free range is left to choose",
    remedy: "Delete networks that are not used, or name a range.",
  },
  PORT_BUSY: {
    status: 409,
    retry: true,
    title: "The host port is taken",
    remedy: "Publish another port, or leave `hostPort` out.",
  },
  NETWORK_UNKNOWN: {
    status: 422,
    retry: false,
    title: "There is no such network",
    remedy: "Create it with `bulkhead networks create`, or use `none`.",
  },
  NETWORK_RANGE_INVALID: {
    status: 422,
    retry: false,
    title: "The range cannot be a network's",
    remedy: "Write it as `address/prefix` with all bits after the prefix zero; `detail` says what is wrong.",
  },
} as const;
