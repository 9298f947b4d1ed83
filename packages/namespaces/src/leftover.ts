import { killAll, NativeError, removeCgroup, type CgroupPlacement } from "@bulkhead/native-namespaces";

/** Ends what a start that was cut off left in its cgroup, and removes it; one that was never made is none. */
export const endLeftover = async (cgroup: CgroupPlacement): Promise<void> => {
  try {
    killAll(cgroup);
  } catch (error) {
    if (!(error instanceof NativeError && error.code === "ENOENT")) throw error;
  }
  await removeCgroup(cgroup);
};
