import { FakeRuntime } from "./fake-runtime.ts";
import { spec } from "./builders.ts";
import { runtimeSuite } from "./runtime-suite.ts";

runtimeSuite(
  "fake",
  async () => {
    const runtime = new FakeRuntime();
    return {
      runtime,
      successor: async () => runtime.successor(),
      [Symbol.asyncDispose]: async () => {
        for (const run of runtime.runs) run.end({ signal: 9 });
      },
    };
  },
  {
    snapshots: true,
    spec: (kind) => spec({ command: [kind] }),
    commands: { cat: ["cat"], exit3: ["exit", "3"], missing: ["no-such-program"] },
  },
);
