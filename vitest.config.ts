import { defineConfig } from "vitest/config";

// What needs Postgres, NATS and disks, and nothing of the host: files of it may run side by side.
const services = "{apps/{metrics,scheduler},packages/{bus,images,inventory,service}}/src/**/*.system.test.ts";

// Only machines of our own monitor are taken to files, and only a lab host runs their kernels (test/lab/README.md).
const needOurMonitor =
  process.env["BULKHEAD_TEST_ENGINE"] === "kvm" ? [] : ["apps/vm-node/src/snapshot-kill.system.test.ts"];

// How much slower than the machine it is a part of the tests' host runs: a lab host is emulated.
const slowness = Number(process.env["BULKHEAD_TEST_SLOWNESS"] ?? "1");

// Four projects: `unit` needs nothing but Node; `services` and `system` need root, the first starts real servers, the
// second changes this host's namespaces, cgroups and networks, one file at a time; `lab` boots hosts with cgroup v2,
// another kernel and a KVM of their own in QEMU.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{apps,packages}/*/src/**/*.test.ts", "test/architecture/*.test.ts", "infra/setup/*.test.mjs"],
          exclude: ["**/*.system.test.{ts,mjs}", "**/node_modules/**"],
          testTimeout: 10_000,
        },
      },
      {
        test: {
          name: "services",
          include: [services],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "system",
          include: [
            "{apps,packages,native}/*/src/**/*.system.test.ts",
            "infra/setup/*.system.test.mjs",
            "test/**/*.test.ts",
          ],
          exclude: [services, "test/{architecture,bench,lab}/**", "**/node_modules/**", ...needOurMonitor],
          testTimeout: 60_000 * slowness,
          hookTimeout: 120_000 * slowness,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "lab",
          include: ["test/lab/**/*.test.ts"],
          // Minutes of an emulated host each: by themselves, or with `npm run test:lab`.
          exclude:
            process.env["BULKHEAD_LAB_MACHINES"] === undefined
              ? ["machine-network", "machine-places", "machine-shares", "snapshot-kill", "first-session", "units"].map(
                  (name) => `test/lab/${name}.test.ts`,
                )
              : [],
          testTimeout: 120_000,
          hookTimeout: 240_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
