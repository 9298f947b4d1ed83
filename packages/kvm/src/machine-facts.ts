import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { HostFacts } from "@bulkhead/contracts";
import { isFleetError, machineShareField } from "@bulkhead/contracts";
import { monitorPath } from "@bulkhead/native-kvm";
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { Engine } from "./engine/engine.ts";

/** What this host can do for machines. */
export interface Machines {
  readonly facts: NonNullable<HostFacts["machines"]>;
  /** engines that can run machines here, the best first */
  readonly usable: readonly Engine[];
  readonly problems: readonly string[];
  /** how often the time stamp counter counts, in kHz; null: not known */
  readonly tscKhz: number | null;
}

type Level = Machines["facts"]["kvm"];

const execute = promisify(execFile);

/** Fields that a machine has not, or not yet: a workload that uses one is not placed here. */
const notOfMachines = new Set([
  "container.writable",
  "shares.namespace",
  "resources.memoryReservationBytes",
  "resources.io.weight",
]);

const SelfTest = Type.Object({
  level: Type.Union([Type.Literal("kvm"), Type.Literal("kvm-emulated"), Type.Literal("none")]),
  reason: Type.String(),
  tscKhz: Type.Integer({ minimum: 1 }),
});

/** It takes five seconds at most on a host that has a processor for it, in milliseconds. */
const selfTestMs = 30_000;

/** What the monitor says of the host; also a host that runs no machine has an answer, and a status of failure. */
const selfTest = async (): Promise<string> => {
  const asked = execute(monitorPath, ["--self-test"], { timeout: selfTestMs });
  const { stdout } = await asked.catch((error: Error & { stdout?: string }) => {
    if (error.stdout === undefined || error.stdout === "") throw error;
    return { stdout: error.stdout };
  });
  return stdout;
};

/** Why an engine is of no use here; null when it can run machines. */
const uselessness = async (engine: Engine, level: Level): Promise<string | null> => {
  if (engine.name === "kvm" && level !== "kvm") return "";
  return engine.prepare(AbortSignal.timeout(60_000)).then(
    () => null,
    (error: unknown) => (isFleetError(error) ? error.message : String(error)),
  );
};

/** Runs a small guest on the host's KVM, and looks which engines, the best first, are there. Never rejects. */
export const describeMachines = async (engines: readonly Engine[]): Promise<Machines> => {
  const answer: unknown = await selfTest()
    .then((text) => JSON.parse(text) as unknown)
    .catch((error: unknown) => String(error));
  const { level, reason, tscKhz } = Value.Check(SelfTest, answer)
    ? answer
    : { level: "none" as const, reason: `its self-test answers ${JSON.stringify(answer)}`, tscKhz: null };
  const usable: Engine[] = [];
  const problems: string[] = [];
  for (const engine of engines) {
    const why = await uselessness(engine, level);
    if (why === null) usable.push(engine);
    // What this host's processors cannot do is no fault of it.
    else if (why !== "") problems.push(why);
  }
  const published = usable.map(({ name, overhead }) => ({ name, ...overhead }));
  const facts = { engine: usable[0]?.name ?? null, engines: published, kvm: level, reason };
  return { facts, usable, problems, tscKhz };
};

/** CAP_SYS_RESOURCE of capabilities(7): this agent may raise limits, so a machine's memory can be locked. */
const mayRaiseLimits = (): boolean => {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> 24n) & 1n) === 1n;
};

/** Whether somebody reserved pages of 2 MiB; the kernel makes none by itself. */
const hasHugepages = (): boolean => {
  try {
    return Number(readFileSync("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "utf8")) > 0;
  } catch {
    return false;
  }
};

/** What a machine may ask for on this host. */
const abilitiesOf = (usable: readonly Engine[]): string[] => {
  const holds = usable.some(({ holdsPlaces }) => holdsPlaces);
  return [
    ...usable.map(({ name }) => `vm.engine.${name}`),
    "vm.kernel",
    ...(usable.some(({ standstill }) => standstill !== null) ? ["vm.restoredFrom"] : []),
    ...(holds && mayRaiseLimits() ? ["vm.memoryPolicy"] : []),
    ...(holds && hasHugepages() ? ["vm.hugepages"] : []),
    ...(usable.some(({ holdsShares }) => holdsShares) ? [machineShareField] : []),
  ];
};

/** The jail's facts as a machine's: what it enforces on a monitor, it enforces on what runs in it. */
export const machineFacts = (jail: HostFacts, { facts, usable, problems }: Machines): HostFacts => {
  const { hostNetwork: _, ...rest } = jail;
  return {
    ...rest,
    // A machine's root is a disk of whatever size.
    enforceable: [...new Set([...jail.enforceable, "resources.diskBytes", ...abilitiesOf(usable)])].filter(
      (field) => !notOfMachines.has(field),
    ),
    mountAllowList: usable.some(({ holdsShares }) => holdsShares) ? jail.mountAllowList : [],
    machines: facts,
    problems: [...jail.problems, ...problems],
  };
};
