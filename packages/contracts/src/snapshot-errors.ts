/** Rows of the error table about snapshots; a part of `errors`, which is the table. */
export const snapshotErrors = {
  SNAPSHOT_IN_USE: {
    status: 409,
    retry: false,
    title: "The snapshot is in use",
    remedy: "Delete the workloads that were restored from it; `detail` names them.",
  },
  SNAPSHOT_UNSUPPORTED: {
    status: 422,
    retry: false,
    title: "This instance cannot be taken to a snapshot",
    remedy: "Only VMs that run with the engine kvm can; `detail` says what is in the way here.",
  },
} as const;
