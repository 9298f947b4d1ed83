import { statSync } from "node:fs";
import { deviceNumbers } from "@bulkhead/host";
import type { JailedDevice } from "@bulkhead/node";

/** /dev/kvm (Linux, Documentation/admin-guide/devices.txt) */
export const kvmDevice: JailedDevice = { path: "/dev/kvm", major: 10, minor: 232 };

/**
 * Through it a guest waits for what is still to come of its kernel (Linux 6.1), so that not all of it needs to be there
 * before; none where the host has no such device, whose number is the host's to choose.
 */
export const lateMemoryDevices = (path = "/dev/userfaultfd"): JailedDevice[] => {
  const node = statSync(path, { bigint: true, throwIfNoEntry: false });
  return node?.isCharacterDevice() === true ? [{ path, ...deviceNumbers(node.rdev) }] : [];
};
