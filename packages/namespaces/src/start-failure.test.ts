import { fleetError } from "@bulkhead/contracts";
import { NativeError } from "@bulkhead/native-namespaces";
import { expect, test } from "vitest";
import { endedFrom, endedWithoutRecord } from "./ended.ts";
import { imageFailure, type ProcessPlan } from "@bulkhead/node";
import { startFailure } from "./start-failure.ts";

const process = (args: string[]): ProcessPlan => ({
  args,
  env: ["PATH=/bin:/usr/bin"],
  cwd: "/w",
  user: "nobody-here",
  stopSignal: 15,
});
const native = (step: string, errno: number, path = "") =>
  new NativeError({ ok: false, step, op: "call", errno, path });

test.each([
  ["exec", 2, "EntrypointNotFound", '"/nope" is not in the image'],
  ["exec", 13, "EntrypointNotExecutable", "may not execute it"],
  ["exec", 8, "EntrypointWrongFormat", "no program for this machine"],
  ["user lookup", 2, "UserNotFound", 'user "nobody-here"'],
  ["working directory", 13, "WorkingDirUnusable", '"/w"'],
  ["writable paths", 2, "WritableUnusable", '"/x"'],
  ["writable paths", 12, "ResourceExhausted", "the host ran out"],
  ["working directory", 28, "DiskFull", "no space left"],
  ["rootfs", 28, "DiskFull", "no space left"],
  ["clone", 11, "ResourceExhausted", "the host ran out"],
  ["mount /data", 18, "MountNotAllowed", "symbolic link"],
  ["mount /data", 2, "MountFailed", "mount /data"],
  ["cgroup limits", 22, "RuntimeFailed", "cgroup limits: call /x: EINVAL"],
] as const)("a failure at %s with errno %i is %s", (step, errno, reason, detail) => {
  const failure = startFailure(native(step, errno, "/x"), process(["/nope"]));
  expect(failure.reason).toBe(reason);
  expect(failure.message).toContain(detail);
});

test("a program looked for by name shows where", () => {
  expect(startFailure(native("exec", 2), process(["nope"])).message).toContain("(PATH=/bin:/usr/bin)");
});

test("failures of images and of Node's own calls are named as well", () => {
  expect(imageFailure(fleetError("IMAGE_DIGEST_MISMATCH", "bad")).reason).toBe("ImageInvalid");
  expect(imageFailure(fleetError("IMAGE_UNAVAILABLE", "gone")).reason).toBe("ImageUnavailable");
  expect(imageFailure(fleetError("RUNTIME_FAILED", "the disk of the image store is full; x")).reason).toBe("DiskFull");
  expect(startFailure(Object.assign(new Error("x"), { code: "ENOSPC" }), null).reason).toBe("DiskFull");
  expect(startFailure(new Error("x"), null).reason).toBe("RuntimeFailed");
});

const record = {
  exitCode: null,
  signal: 9,
  oomKilled: false,
  leaseExpired: false,
  startedAtUnixMs: 0,
  finishedAtUnixMs: 1000,
};
const oom = { limitBytes: 64 * 2 ** 20, peakBytes: 0, kills: 1, processName: null, processRssBytes: null };
const context = { stopWanted: false, oom: () => oom, leaseMs: 5000 };

test("an end is explained by what was asked for, the lease, memory, the signal, in this order", () => {
  expect(endedFrom(record, context)).toMatchObject({ reason: "Signaled", detail: "ended by SIGKILL" });
  expect(endedFrom({ ...record, oomKilled: true }, context)).toMatchObject({
    reason: "OomKilled",
    detail: "killed by the kernel at its memory limit of 64 MiB",
  });
  const known = { ...oom, peakBytes: 63 * 2 ** 20, kills: 3, processName: "bad\nname", processRssBytes: 60 * 2 ** 20 };
  expect(endedFrom({ ...record, oomKilled: true }, { ...context, oom: () => known })).toMatchObject({
    detail:
      'killed by the kernel at its memory limit of 64 MiB; the last process was "bad\\nname", which held 60 MiB; at most 63 MiB were in use; 3 processes were killed in this run',
    exit: { oomKilled: true, oom: known },
  });
  expect(endedFrom({ ...record, leaseExpired: true }, context).reason).toBe("LeaseExpired");
  expect(endedFrom(record, { ...context, stopWanted: true }).reason).toBe("StoppedByUser");
  expect(endedFrom({ ...record, signal: null, exitCode: 7 }, context)).toMatchObject({
    reason: "Exited",
    detail: "exited with code 7",
    exit: { exitCode: 7, finishedAt: "1970-01-01T00:00:01.000Z" },
  });
});

test("without a record the end says why there is none", () => {
  const times = { startedAt: "2026-01-01T00:00:00.000Z", seenAtUnixMs: 0 };
  expect(endedWithoutRecord("HostRebooted", times).detail).toContain("restarted");
  expect(endedWithoutRecord("Vanished", times).reason).toBe("Vanished");
});
