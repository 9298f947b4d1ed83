import type { Ended } from "@bulkhead/node";
import { expect, test } from "vitest";
import { kvmEngine } from "./engine/kvm.ts";
import { qemuEngine } from "./engine/qemu.ts";
import { machineEnded } from "./machine-ended.ts";

const engines = [kvmEngine({ directory: "/nowhere" }), qemuEngine("/nowhere")];
const [kvm, qemu] = engines as [(typeof engines)[0], (typeof engines)[0]];

const monitorOf = (exitCode: number | null, reason: Ended["reason"] = "Exited", detail = "its detail"): Ended => ({
  exit: {
    exitCode,
    signal: exitCode === null ? 9 : null,
    oomKilled: reason === "OomKilled",
    startedAt: "2026-01-01T00:00:00.000Z",
    finishedAt: "2026-01-01T00:00:01.000Z",
  },
  reason,
  detail,
});

const endOf = (engine: (typeof engines)[0], monitor: Ended, more: Partial<Parameters<typeof machineEnded>[0]> = {}) =>
  machineEnded({
    monitor,
    outcome: monitor.exit.exitCode === null ? null : engine.outcomeOf(monitor.exit.exitCode),
    report: { state: "running" },
    stopWanted: false,
    lostDirectory: null,
    memoryBytes: 2 ** 27,
    ...more,
  });

test.each([
  [kvm, 13, "triple fault"],
  [kvm, 17, "the guest's kernel panicked"],
  [qemu, 1, "the guest's kernel panicked"],
  [kvm, 12, "the machine was reset from inside"],
  [kvm, 0, "the machine was switched off from inside"],
  [qemu, 0, "the machine was switched off"],
  [kvm, 14, "the host's KVM cannot carry out an instruction"],
  [kvm, 15, "the host's KVM refused the state"],
  [kvm, 1, "the monitor could not start the machine"],
])("$name's exit code %i is no end of the program's, and says what became of the machine", (engine, code, words) => {
  const { exit, reason, detail } = endOf(engine, monitorOf(code));
  expect([exit.exitCode, reason]).toEqual([null, "RuntimeFailed"]);
  expect(detail).toMatch(new RegExp(`^${words}.*, under its program$`));
});

test("a monitor that was killed is told from its guest's end", () => {
  const { reason, detail } = endOf(kvm, monitorOf(null, "Signaled", "killed by SIGKILL"));
  expect([reason, detail]).toEqual(["RuntimeFailed", "its monitor ended: killed by SIGKILL"]);
});

test("a program that the guest's own kernel killed for want of memory says so", () => {
  const report = { state: "ended", exitCode: null, signal: 9, oomKills: 1 } as const;
  expect(endOf(kvm, monitorOf(0), { report })).toMatchObject({ reason: "OomKilled", exit: { oomKilled: true } });
});

test("a machine that was to stop was stopped, however it went down", () => {
  expect(endOf(kvm, monitorOf(null, "Signaled"), { stopWanted: true })).toMatchObject({ reason: "StoppedByUser" });
});

test("a machine that was ended for a file server's end says which, unless its program had ended", () => {
  const lost = { lostDirectory: "/srv/data" };
  expect(endOf(qemu, monitorOf(null, "Signaled"), lost)).toMatchObject({
    reason: "MountFailed",
    detail: expect.stringContaining('the file server of "/srv/data" ended') as string,
  });
  const report = { state: "ended", exitCode: 3, signal: null, oomKills: 0 } as const;
  expect(endOf(qemu, monitorOf(0), { ...lost, report })).toMatchObject({ reason: "Exited", exit: { exitCode: 3 } });
});
