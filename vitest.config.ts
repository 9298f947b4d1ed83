import { defineConfig } from "vitest/config";

// Three projects: `unit` needs nothing but Node; `system` needs root and starts real servers, kernels' namespaces and
// images; `lab` boots hosts with cgroup v2, another kernel and a KVM of their own in QEMU.
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
          name: "system",
          include: [
            "{apps,packages,native}/*/src/**/*.system.test.ts",
            "infra/setup/*.system.test.mjs",
            "test/**/*.test.ts",
          ],
          exclude: ["test/architecture/**", "test/bench/**", "test/lab/**", "**/node_modules/**"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "lab",
          include: ["test/lab/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 240_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
