import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment } from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, describe, expect, test } from "vitest";
import type { DyingAgent } from "./testing/dying-agent.ts";
import { MachineRig, sharedParts } from "./testing/machine-rig.ts";

const shared = await sharedParts(await busyboxImage());
afterAll(() => rm(shared.directory, { recursive: true, force: true }));

const patienceMs = 120_000;

/** What there is of an instance on its host: the steps of a start leave these, in this order. */
interface Places {
  /** directory of the machine's files */
  readonly run: string;
  /** directory of the jail's run */
  readonly jail: string;
}

const filesBelow = (directory: string): string[] =>
  existsSync(directory) ? readdirSync(directory, { recursive: true }).map(String) : [];
const has = (directory: string, name: RegExp): boolean => filesBelow(directory).some((file) => name.test(file));

const steps: readonly { readonly name: string; readonly reached: (places: Places) => boolean }[] = [
  { name: "its files are being made", reached: ({ run }) => has(run, /report$|settings$/) },
  { name: "its record is written", reached: ({ run }) => has(run, /record\.json$/) },
  { name: "its jail is being made", reached: ({ jail }) => existsSync(jail) },
  { name: "its monitor listens", reached: ({ run }) => has(run, /ports\/agent$/) },
];

/** Also when the agent has ended, which its exit code says then. */
const until = (holds: () => boolean, agent: ChildProcess): Promise<void> =>
  expect.poll(() => holds() || agent.exitCode !== null, { interval: 2, timeout: patienceMs }).toBe(true);

const agentOf = (rig: MachineRig, assignment: Assignment): ChildProcess => {
  const told: DyingAgent = { paths: rig.paths, shared: rig.shared, assignment };
  return spawn(process.execPath, [join(import.meta.dirname, "testing/dying-agent.ts"), JSON.stringify(told)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
};

const kill = async (agent: ChildProcess): Promise<void> => {
  const gone = once(agent, "exit");
  agent.kill("SIGKILL");
  await gone;
};

/** The next agent ends whatever there is of it, and removes it; the rig finds what is left. */
const removeAll = async (rig: MachineRig, { instanceId }: Assignment): Promise<Run[]> => {
  const runtime = await rig.reopen();
  const runs = await runtime.list();
  for (const run of runs) {
    await run.stop(0);
    await run.release();
  }
  await runtime.remove(instanceId);
  expect(existsSync(join(rig.paths.instances, instanceId))).toBe(false);
  return runs;
};

describe("kill -9 of the agent", () => {
  test.each(steps)(
    "while a machine starts and $name: nothing is left, and the id starts again",
    async ({ reached }) => {
      await using rig = await MachineRig.open(shared);
      const assignment = rig.assignment({ command: ["true"] });
      const places = {
        run: join(rig.paths.instances, assignment.instanceId, "machine"),
        jail: join(rig.paths.runInstances, assignment.instanceId),
      };
      const agent = agentOf(rig, assignment);
      await until(() => reached(places), agent);
      expect(agent.exitCode).toBeNull();
      await kill(agent);
      await removeAll(rig, assignment);
      const run = await rig.start(assignment);
      expect(await run.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 0 } });
    },
  );

  test("while it stops a machine: the next one ends it, and calls it stopped", async () => {
    await using rig = await MachineRig.open(shared);
    // It ignores the signal, so that the stop is under way for as long as the test needs.
    const command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
    const assignment = rig.assignment({ command });
    const agent = agentOf(rig, assignment);
    await once(agent.stdout as NodeJS.ReadableStream, "data");
    agent.stdin?.write("stop");
    await until(() => has(join(rig.paths.instances, assignment.instanceId), /stop-wanted$/), agent);
    await kill(agent);
    const [run] = await removeAll(rig, assignment);
    expect(await run?.ended).toMatchObject({ reason: "StoppedByUser" });
  });
});
