/** Rows of the error table about snapshots; a part of `errors`, which is the table. */
export const snapshotErrors = {
  SNAPSHOT_CORRUPT: {
    status: 409,
    retry: false,
    title: "The snapshot is damaged",
    remedy: "`detail` says which of its files is not what was written; delete it and take another.",
  },
  SNAPSHOT_IN_USE: {
    status: 409,
    retry: false,
    title: "The snapshot is in use",
    remedy: "Delete the workloads that were restored from it; `detail` names them.",
  },
  SNAPSHOT_NO_ROOM: {
    status: 507,
    retry: false,
    title: "The host has no room for the snapshot",
    remedy: "Delete snapshots of that host or free its disk; nothing is left of this one.",
  },
  SNAPSHOT_STANDSTILL: {
    status: 500,
    retry: false,
    title: "The instance does not go on after its snapshot",
    remedy: "Its agent tries on, and `ContractHeld` says how it stands; restart the instance if it stays so.",
  },
  SNAPSHOT_UNDER_WAY: {
    status: 409,
    retry: true,
    title: "The host is still at work on the snapshot",
    remedy: "Ask again; `detail` says how far it got.",
  },
  SNAPSHOT_UNSUPPORTED: {
    status: 422,
    retry: false,
    title: "This instance cannot be taken to a snapshot",
    remedy: "Only VMs that run with the engine kvm can; `detail` says what is in the way here.",
  },
} as const;
