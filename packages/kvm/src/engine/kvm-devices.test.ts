import { expect, test } from "vitest";
import { lateMemoryDevices } from "./kvm-devices.ts";

test("a jail is given the device for late memory with the host's own number, and none where there is none", () => {
  expect(lateMemoryDevices("/dev/null")).toEqual([{ path: "/dev/null", major: 1, minor: 3 }]);
  expect(lateMemoryDevices("/dev/nowhere")).toEqual([]);
  expect(lateMemoryDevices("/etc/passwd")).toEqual([]);
});
