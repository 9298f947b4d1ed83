import { expect, test } from "vitest";
import type { MachineOrigin, MachinePlan } from "./engine.ts";
import { kvmEngine } from "./kvm.ts";

const planOf = (origin: MachineOrigin): MachinePlan => ({
  cpus: 2,
  memoryMib: 256,
  cpuIds: [],
  memoryPolicy: "normal",
  hugepages: false,
  tscKhz: null,
  origin,
  disks: { image: "/d/image", scratch: "/d/scratch", settings: "/d/settings", report: "/d/report" },
  card: { mac: "02:00:00:00:00:01", mtu: 1500 },
  ports: "/d/ports",
  shared: [],
});

const devicesOf = (args: readonly string[]): string[] => args.filter((_, at) => args[at - 1] === "--device");

test("a machine that goes on has the devices of one that boots, in the same order, and is told nothing that it knows", () => {
  const engine = kvmEngine({ directory: "/engines" });
  const boots = engine.program(["/root"], planOf({ kernel: "/k/kernel", initramfs: "/k/initramfs" }));
  const goesOn = engine.program(["/root"], planOf({ state: "/s/state", memory: "/s/memory" }));
  expect(devicesOf(goesOn.args)).toEqual(devicesOf(boots.args));
  expect(goesOn.args).toEqual(expect.arrayContaining(["--restore", "/machine/state", "--memory", "/machine/memory"]));
  const known = ["--kernel", "--initramfs", "--command-line", "--cpus", "--memory-mib"];
  expect(goesOn.args.filter((word) => known.includes(word))).toEqual([]);
  expect(boots.args.filter((word) => known.includes(word))).toEqual(known);
  // Copies share the files, so none of them may write to one.
  expect(goesOn.files.filter(({ writable }) => !writable).map(({ hostPath }) => hostPath)).toEqual(
    expect.arrayContaining(["/s/state", "/s/memory", "/d/image"]),
  );
});
