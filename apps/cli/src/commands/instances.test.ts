import type { Instance, InstanceMachine } from "@bulkhead/contracts";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { OptionValues, type Invocation } from "../command.ts";
import { ps } from "./instances.ts";

const instance = (changes: Partial<Instance>): Instance =>
  ({
    name: "web-0",
    isolation: "container",
    state: "running",
    hostName: "one",
    resources: { cpuMillis: 1000, memoryBytes: 2 ** 28 },
    rejections: [],
    reason: null,
    restarts: 0,
    createdAt: new Date().toISOString(),
    ...changes,
  }) as Instance;

const machine: InstanceMachine = {
  engine: "kvm",
  kernel: "6.1.0-9-cloud-amd64",
  cpus: 2,
  cpuIds: [2, 3],
  pinned: true,
  memoryPolicy: "locked",
  hugepages: false,
};

/** What `ps` prints of these instances, by line and column. */
const printed = async (rows: readonly Instance[], options: Record<string, unknown>): Promise<string[][]> => {
  let text = "";
  await ps({
    positionals: [],
    options: new OptionValues(options),
    format: "table",
    client: () => ({ instances: { list: () => Readable.from(rows) } }),
    print: (words: string) => void (text += words),
  } as unknown as Invocation);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {2,}/));
};

test("ps --wide shows what runs a machine and where; a container has nothing of it", async () => {
  const rows = [instance({}), instance({ name: "db-0", isolation: "vm", machine })];
  const [titles, container, vm] = await printed(rows, { wide: true });
  expect(titles?.slice(-5)).toEqual(["ISOLATION", "ENGINE", "KERNEL", "CPUS", "LOCKED"]);
  expect(container?.slice(-5)).toEqual(["container", "-", "-", "-", "-"]);
  expect(vm?.slice(-5)).toEqual(["vm", "kvm", "6.1.0-9-cloud-amd64", "2,3", "yes"]);
  const [narrow] = await printed(rows, {});
  expect(narrow).not.toContain("ENGINE");
});
