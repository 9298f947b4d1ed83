import { rm } from "node:fs/promises";
import { busyboxImage } from "@bulkhead/testkit/images";
import { busyboxCommands, busyboxPrograms, runtimeSuite } from "@bulkhead/testkit/runtime";
import { afterAll } from "vitest";
import { engine, MachineRig, sharedParts } from "./testing/machine-rig.ts";

const shared = await sharedParts(await busyboxImage());
afterAll(() => rm(shared.directory, { recursive: true, force: true }));

runtimeSuite(
  `vm, engine ${engine.name}`,
  async () => {
    const rig = await MachineRig.open(shared);
    return {
      runtime: rig.runtime,
      successor: () => rig.reopen(),
      [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
    };
  },
  {
    spec: (kind) => ({
      image: "busybox",
      command: [...busyboxPrograms[kind]],
      resources: { cpuMillis: 1000, memoryBytes: 160 * 2 ** 20 },
    }),
    imageDigest: shared.image.manifestDigest,
    commands: busyboxCommands,
    resizes: false,
    snapshots: engine.standstill !== null,
  },
);
