import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { applyRoute, PacketRules } from "@bulkhead/native-namespaces";
import { expect, test } from "vitest";
import { openCgroupParents, removeCgroupParents } from "./cgroup-parents.ts";
import { leaksBetween, snapshotHost } from "./leaks.ts";
import { networkNames } from "./network/names.ts";
import { noRules, ruleSet } from "./network/rules.ts";

const hash = (): string => randomBytes(4).toString("hex");

test("a leak check names files, cgroups, networks, processes and namespaces that stayed", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-host-leak-");
  const name = hash();
  const scope = {
    directories: [directory.path],
    cgroupPrefixes: [`bulkhead-${name}`],
    commands: [`leak-${name}`],
    networksOf: name,
  };
  using rules = new PacketRules();
  const before = await snapshotHost(scope);
  const names = networkNames(name);
  const bridge = names.bridge("leaked");
  const parents = await openCgroupParents(`bulkhead-${name}`);
  await writeFile(join(directory.path, "left"), "");
  const child = spawn("unshare", ["--net", "sh", "-c", "echo ready; read line", `leak-${name}`]);
  try {
    await once(child.stdout, "data");
    await applyRoute([{ op: "link.add", kind: "bridge", ...bridge }]);
    await rules.apply(ruleSet(names));
    const leaks = leaksBetween(before, await snapshotHost(scope));
    expect(leaks).toContain(`file ${join(directory.path, "left")}`);
    expect(leaks).toContain(`cgroup ${Object.values(parents.paths)[0]}`);
    expect(leaks).toContain(`network link ${bridge.name}`);
    expect(leaks).toContain(`network table inet ${names.table}`);
    expect(leaks.filter((line) => line.startsWith("process "))).toHaveLength(1);
    expect(leaks.some((line) => line.startsWith("namespace net:["))).toBe(true);
  } finally {
    await rules.apply(noRules(names));
    await applyRoute([{ op: "link.delete", name: bridge.name, mayBeMissing: true }]);
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    await removeCgroupParents(parents);
  }
});
