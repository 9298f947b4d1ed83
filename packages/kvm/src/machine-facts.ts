import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { HostFacts } from "@bulkhead/contracts";
import { isFleetError } from "@bulkhead/contracts";
import { monitorPath } from "@bulkhead/native-kvm";
import { Type } from "typebox";
import { Value } from "typebox/value";
import type { Engine } from "./engine/engine.ts";

/** What this host can do for machines. */
export interface Machines {
  readonly facts: NonNullable<HostFacts["machines"]>;
  readonly problems: readonly string[];
  /** how often the time stamp counter counts, in kHz; null: not known */
  readonly tscKhz: number | null;
}

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

/** What the monitor says of the host; also a host that runs no machine has an answer, and a status of failure. */
const selfTest = async (): Promise<string> => {
  const asked = execute(monitorPath, ["--self-test"], { timeout: 10_000 });
  const { stdout } = await asked.catch((error: Error & { stdout?: string }) => {
    if (error.stdout === undefined || error.stdout === "") throw error;
    return { stdout: error.stdout };
  });
  return stdout;
};

/** Runs a small guest on the host's KVM, and looks whether the engine is there. Never rejects. */
export const describeMachines = async (engine: Engine): Promise<Machines> => {
  const answer: unknown = await selfTest()
    .then((text) => JSON.parse(text) as unknown)
    .catch((error: unknown) => String(error));
  const { level, reason, tscKhz } = Value.Check(SelfTest, answer)
    ? answer
    : { level: "none" as const, reason: `its self-test answers ${JSON.stringify(answer)}`, tscKhz: null };
  const problems = await engine.prepare(AbortSignal.timeout(60_000)).then(
    () => [],
    (error: unknown) => [isFleetError(error) ? error.message : String(error)],
  );
  return { facts: { engine: engine.name, kvm: level, reason }, problems, tscKhz };
};

/** The jail's facts as a machine's: what it enforces on a monitor, it enforces on what runs in it. */
export const machineFacts = (jail: HostFacts, { facts, problems }: Machines): HostFacts => {
  const { hostNetwork: _, ...rest } = jail;
  return {
    ...rest,
    // A machine's root is a disk of whatever size.
    enforceable: [...new Set([...jail.enforceable, "resources.diskBytes"])].filter(
      (field) => !notOfMachines.has(field),
    ),
    mountAllowList: [],
    machines: facts,
    problems: [...jail.problems, ...problems],
  };
};
