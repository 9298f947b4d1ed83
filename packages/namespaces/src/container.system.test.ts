import { afterAll } from "vitest";
import type { WorkloadSpec } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { busyboxCommands, busyboxPrograms, runtimeSuite, type ProgramKind } from "@bulkhead/testkit/runtime";
import { Rig } from "./testing/rig.ts";

const images = await Rig.open();
afterAll(() => images[Symbol.asyncDispose]());
const imageDigest = await images.image(await busyboxImage());
const image = await images.ensured(imageDigest);

const spec = (kind: ProgramKind): WorkloadSpec => ({
  image: "busybox",
  command: [...busyboxPrograms[kind]],
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
    commands: busyboxCommands,
  },
);
