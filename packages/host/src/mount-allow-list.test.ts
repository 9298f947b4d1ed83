import { expect, test } from "vitest";
import { MountAllowList } from "./mount-allow-list.ts";

test("an empty list allows nothing", () => {
  expect(MountAllowList.parse("").rootOf("/srv/data")).toBeNull();
});

test("the deepest allowed directory is found, itself included", () => {
  const list = MountAllowList.parse("/srv:/srv/shared/");
  expect(list.rootOf("/srv/shared/a")).toBe("/srv/shared");
  expect(list.rootOf("/srv/shared")).toBe("/srv/shared");
  expect(list.rootOf("/srv/other/")).toBe("/srv");
});

test.each(["/srvx", "/etc", "/srv/../etc", "srv/a", "/srv/./a", "/"])("%s is not below /srv", (path) => {
  expect(MountAllowList.parse("/srv").rootOf(path)).toBeNull();
});

test.each(["relative", "/srv/..", "/a//b"])("the entry %s is refused", (entry) => {
  expect(() => MountAllowList.parse(entry)).toThrow(/BULKHEAD_MOUNT_ALLOW/);
});
