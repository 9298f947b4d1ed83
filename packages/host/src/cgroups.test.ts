import { expect, test } from "vitest";
import { hierarchyOf, parseCgroups } from "./cgroups.ts";

const hybridMounts = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`;
const hybridSelf = `4:memory:/a/b\n3:cpuset:/\n1:cpu,cpuacct:/\n9:name=systemd:/\n0::/\n`;

test("a hybrid layout names each controller's own cgroup and leaves named hierarchies out", () => {
  const layout = parseCgroups(hybridMounts, hybridSelf);
  expect(layout.mode).toBe("hybrid");
  expect(hierarchyOf(layout, "memory")?.own).toBe("/sys/fs/cgroup/memory/a/b");
  expect(hierarchyOf(layout, "cpuacct")).toBe(hierarchyOf(layout, "cpu"));
  expect(hierarchyOf(layout, "unified")?.own).toBe("/sys/fs/cgroup/unified");
  expect(layout.hierarchies).toHaveLength(4);
});

test("a layout with only cgroup2 is v2 and serves every controller from it", () => {
  const layout = parseCgroups(
    "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate",
    "0::/system.slice/bulkhead.service\n",
  );
  expect(layout.mode).toBe("v2");
  expect(hierarchyOf(layout, "memory")?.own).toBe("/sys/fs/cgroup/system.slice/bulkhead.service");
});

test("without cgroup2 the layout is v1", () => {
  expect(parseCgroups("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory", "4:memory:/\n").mode).toBe(
    "v1",
  );
});

test("inside a container the mount's root is taken off the path", () => {
  const layout = parseCgroups(
    "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
    "4:memory:/docker/abc/agent\n",
  );
  expect(hierarchyOf(layout, "memory")?.own).toBe("/sys/fs/cgroup/memory/agent");
});

test("a path outside the mount's root falls back to the mount point", () => {
  const layout = parseCgroups("35 31 0:32 /docker/abc /cg rw - cgroup cgroup rw,memory", "4:memory:/other\n");
  expect(hierarchyOf(layout, "memory")?.own).toBe("/cg");
});

test("escaped mount points and cgroup names with colons are read as they are", () => {
  const layout = parseCgroups("35 31 0:32 / /my\\040cg rw - cgroup cgroup rw,memory", "4:memory:/a:b\n");
  expect(hierarchyOf(layout, "memory")?.own).toBe("/my cg/a:b");
});

test("a machine without cgroups is refused", () => {
  expect(() => parseCgroups("27 1 254:0 / / rw - ext4 /dev/vda rw", "")).toThrow(/no cgroup hierarchy/);
});
