import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { usableCpus } from "@bulkhead/host";
import type { JailedRun, SharedCpus } from "@bulkhead/node";
import type { Engine } from "./engine/engine.ts";
import { KeptPlaces } from "./kept-places.ts";
import type { MachineRecord } from "./machine-record.ts";

const resources = { cpuMillis: 1000, cpuPolicy: "dedicated", memoryBytes: 2 ** 30 };
const record = { assignment: { spec: { image: "x", resources }, cpuIds: [0] } } as unknown as MachineRecord;
const engine = { holdsPlaces: true } as Engine;

/** A process that is no machine: it lacks the processor's thread. Each look finds the next state of its host's CPUs. */
const placesOf = async (looks: Omit<SharedCpus, "cpus">[]) => {
  const child = spawn("sleep", ["1000"]);
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  const cpus = usableCpus();
  const next = (): SharedCpus => ({ cpus, ...(looks.length > 1 ? looks.shift() : looks[0]) }) as SharedCpus;
  const jailed = { pid, processes: () => [pid], sharedCpus: next, onCpusChanged: null } as unknown as JailedRun;
  const places = new KeptPlaces(jailed, record, engine);
  return { places, [Symbol.dispose]: () => void child.kill("SIGKILL") };
};

const told = (change: number) => ({ change, settled: true });
const lacks = ["its processor 0 has no thread"];

test("what is not in its place is told", async () => {
  using machine = await placesOf([told(1)]);
  expect(machine.places.check()).toEqual(lacks);
});

test("while the kernel is being told of other CPUs, threads are nowhere in particular", async () => {
  using machine = await placesOf([{ change: 1, settled: false }]);
  expect(machine.places.check()).toEqual([]);
});

test("what the other agent changed during the look is looked at again", async () => {
  using during = await placesOf([told(1), told(1), told(1), { change: 2, settled: false }]);
  expect(during.places.check()).toEqual([]);
  using after = await placesOf([told(1), told(1), told(1), told(3)]);
  expect(after.places.check()).toEqual(lacks);
});
