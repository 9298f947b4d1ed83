// `features` says what is so: everything in its lists is taken, and nothing that it leaves out.
import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { type Config, Place } from "./runtime.ts";

interface Features {
  ociVersionMin: string;
  ociVersionMax: string;
  hooks: string[];
  mountOptions: string[];
  potentiallyUnsafeConfigAnnotations: string[];
  linux: {
    namespaces: string[];
    capabilities: string[];
    cgroup: Record<string, boolean>;
    seccomp: { enabled: boolean; actions: string[]; operators: string[]; archs: string[]; supportedFlags: string[] };
    memoryPolicy: { modes: string[]; flags: string[] };
    mountExtensions: { idmap: { enabled: boolean } };
    netDevices: { enabled: boolean };
    intelRdt: { enabled: boolean };
  };
}

const features = async (place: Place): Promise<Features> => JSON.parse(await place.must(["features"]));

test("the document has the specification's form, and this runtime's answers", async () => {
  await using place = new Place();
  const { linux, ...all } = await features(place);
  expect(all).toMatchObject({
    ociVersionMin: "1.0.0",
    ociVersionMax: "1.3.0",
    hooks: ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
    potentiallyUnsafeConfigAnnotations: ["org.bulkhead.", "org.systemd.property."],
  });
  expect(linux.cgroup).toEqual({ v1: true, v2: true, systemd: true, systemdUser: false, rdma: true });
  expect([linux.netDevices, linux.mountExtensions.idmap, linux.intelRdt].map(({ enabled }) => enabled)).toEqual([
    true,
    true,
    false,
  ]);
  const last = Number(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8"));
  expect(linux.capabilities.length).toBeGreaterThanOrEqual(last + 1);
  // The kernel's names of those that the specification calls otherwise, and without "for_children".
  const names: Record<string, string> = { mnt: "mount", net: "network" };
  const kernel = readdirSync("/proc/self/ns").filter((name) => !name.endsWith("_for_children"));
  expect(linux.namespaces.toSorted()).toEqual(kernel.map((name) => names[name] ?? name).toSorted());
  expect(await place.must(["--version"])).toContain("spec: 1.3.0");
});

test("every mount option of the list is taken, and one that is not in it is refused", async () => {
  await using place = new Place();
  const { mountOptions } = await features(place);
  expect(mountOptions.length).toBeGreaterThan(60);
  const attempt = async (words: readonly string[]): Promise<string> => {
    const change = (config: Config): void => {
      for (const word of words) {
        const tmpfs = word === "tmpcopyup";
        const options = tmpfs || word === "rbind" ? [word] : ["bind", word];
        // Sharing needs a mount that nobody has made unbindable, so each has a place and a source of its own.
        if (word.endsWith("idmap")) continue;
        const source = tmpfs ? "tmpfs" : `${config.root.path}/etc`;
        const destination = word === "remount" ? "/proc" : "/tmp";
        config.mounts.push({ destination, type: tmpfs ? "tmpfs" : "none", source, options });
      }
    };
    return (await place.run(["run", "--bundle", place.bundle(["true"], change), "one"])).stderr;
  };
  for (const word of mountOptions) expect({ word, stderr: await attempt([word]) }).toEqual({ word, stderr: "" });
  for (const word of ["nosuch", "rnosuch", "seclabel=x", ""]) {
    expect(await attempt([word])).toContain("is not a known mount option");
  }
});

test("every action, operator, architecture and flag of seccomp is taken", async () => {
  await using place = new Place();
  const { seccomp } = (await features(place)).linux;
  const run = async (profile: object): Promise<string> => {
    const bundle = place.bundle(["true"], (config) => (config.linux["seccomp"] = profile));
    return (await place.run(["run", "--bundle", bundle, "one"])).stderr;
  };
  const allow = { defaultAction: "SCMP_ACT_ALLOW", architectures: seccomp.archs };
  for (const action of seccomp.actions.filter((name) => name !== "SCMP_ACT_NOTIFY")) {
    const syscalls = [{ names: ["swapoff"], action }];
    expect({ action, stderr: await run({ ...allow, syscalls }) }).toEqual({ action, stderr: "" });
  }
  for (const op of seccomp.operators) {
    const syscalls = [{ names: ["swapoff"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value: 1, op }] }];
    expect({ op, stderr: await run({ ...allow, syscalls }) }).toEqual({ op, stderr: "" });
  }
  for (const flag of seccomp.supportedFlags.filter((name) => !name.includes("WAIT_KILLABLE"))) {
    expect({ flag, stderr: await run({ ...allow, flags: [flag] }) }).toEqual({ flag, stderr: "" });
  }
  expect(await run({ ...allow, flags: ["SECCOMP_FILTER_FLAG_NONE"] })).toContain("/linux/seccomp/flags/0");
});
