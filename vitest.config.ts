import { defineConfig } from "vitest/config";

// Two projects: `unit` needs nothing but Node; `system` needs root and starts real servers, kernels' namespaces and images.
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
          exclude: ["test/architecture/**", "test/bench/**", "**/node_modules/**"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
