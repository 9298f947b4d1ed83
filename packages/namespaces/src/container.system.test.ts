import { afterAll } from "vitest";
import type { WorkloadSpec } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { runtimeSuite, type ProgramKind } from "@bulkhead/testkit/runtime";
import { Rig } from "./testing/rig.ts";

const images = await Rig.open();
afterAll(() => images[Symbol.asyncDispose]());
const imageDigest = await images.image(await busyboxImage());
const image = await images.ensured(imageDigest);

const scripts: Readonly<Record<ProgramKind, readonly string[]>> = {
  sleep: ["sleep", "100000"],
  stubborn: ["sh", "-c", "trap '' TERM; while true; do sleep 1000; done"],
  cat: ["cat", "/dev/null"],
  exit7: ["sh", "-c", "echo to stdout; echo to stderr >&2; exit 7"],
  oom: ["sh", "-c", "x=a; while true; do x=$x$x; done"],
  spin: ["sh", "-c", "while true; do :; done"],
  missing: ["/no/such/program"],
};

const spec = (kind: ProgramKind): WorkloadSpec => ({
  image: "busybox",
  command: [...scripts[kind]],
  resources: { cpuMillis: 100, memoryBytes: 32 * 2 ** 20 },
});

runtimeSuite(
  "container",
  async () => {
    const rig = await Rig.open({ image });
    return {
      runtime: rig.runtime,
      successor: () => rig.reopen(),
      [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
    };
  },
  {
    spec,
    imageDigest,
    commands: { cat: ["cat"], exit3: ["sh", "-c", "exit 3"], missing: ["/no/such/program"] },
  },
);
