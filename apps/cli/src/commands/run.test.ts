import { CreateWorkload, PatchWorkload } from "@bulkhead/contracts";
import { Value } from "typebox/value";
import { expect, test } from "vitest";
import { UsageError } from "../command.ts";
import { parseCommandLine } from "../parse.ts";
import { commands } from "../table/index.ts";
import { parseSignal } from "./act.ts";
import { patchOf } from "./resize.ts";
import { parseMount, workloadOf } from "./run.ts";

const parsed = (line: string) => {
  const command = parseCommandLine(commands, line.split(" "));
  if ("help" in command) throw new Error("help");
  return command;
};

const body = (line: string, environment = {}): CreateWorkload => {
  const { positionals, rest, options } = parsed(line);
  return workloadOf(positionals[0] ?? "", rest, options, environment);
};

const patch = (line: string): PatchWorkload => patchOf(parsed(line).options);

test("every option of run has its place in the request, which the API's schema accepts", () => {
  const request = body(
    "run redis:7 --name cache -c 0.5 --cpu-limit 1 -m 128Mi --pids 50 -r 3 -e A=1 -e HOME --mount /srv/x:/data:rw --mount /etc/y:/y --tmpfs /tmp:64Mi --tmpfs /build:1Gi:exec --restart on-failure:5 -u redis -w /data --read-only --writable /data --writable /tmp --label tier=a --stop-grace 3s -- redis-server --port 0",
    { HOME: "/root" },
  );
  expect(request).toEqual({
    name: "cache",
    spec: {
      image: "redis:7",
      command: ["redis-server", "--port", "0"],
      env: { A: "1", HOME: "/root" },
      workingDir: "/data",
      user: "redis",
      resources: { cpuMillis: 500, cpuLimitMillis: 1000, memoryBytes: 134_217_728, pidsMax: 50 },
      restart: { policy: "on-failure", maxRestarts: 5 },
      replicas: 3,
      mounts: [
        { hostPath: "/srv/x", path: "/data", readOnly: false },
        { hostPath: "/etc/y", path: "/y", readOnly: true },
      ],
      tmpfs: [
        { path: "/tmp", sizeBytes: 67_108_864 },
        { path: "/build", sizeBytes: 1_073_741_824, executable: true },
      ],
      stopGraceMs: 3000,
      container: { readOnlyRoot: true, writable: ["/data", "/tmp"] },
      labels: { tier: "a" },
    },
  });
  expect(Value.Check(CreateWorkload, request)).toBe(true);
});

test("an image alone is a whole request; its name is made from the image's", () => {
  const request = body("run registry/Team_App:1.2");
  expect(request.name).toMatch(/^team-app-[0-9a-f]{4}$/);
  expect(Value.Check(CreateWorkload, request)).toBe(true);
});

test("--disk is the room for its root", () => {
  expect(body("run redis --disk 2Gi").spec.resources).toMatchObject({ diskBytes: 2 * 2 ** 30 });
});

test("--keep-entrypoint replaces the image's command only", () => {
  expect(body("run redis --keep-entrypoint -- --port 0").spec).toMatchObject({ args: ["--port", "0"] });
});

test.each([
  "run redis --env =x",
  "run redis --env MISSING",
  "run redis --restart sometimes",
  "run redis --mount /a",
  "run redis --mount a:/b",
  "run redis --mount /a:/b:rx",
  "run redis --tmpfs /a",
  "run redis --tmpfs a:1Mi",
  "run redis --tmpfs /a:much",
  "run redis --tmpfs /a:1Mi:rw",
  "run redis --cpu fast",
])("%s is refused before anything is sent", (line) => {
  expect(() => body(line)).toThrow(UsageError);
});

test("a mount is read-only unless it says otherwise", () => {
  expect(parseMount("/a:/b")).toEqual({ hostPath: "/a", path: "/b", readOnly: true });
});

test("a resize names only what was named; none removes a limit", () => {
  expect(patch("resize web -m 64Mi")).toEqual({ spec: { resources: { memoryBytes: 67_108_864 } } });
  const all = patch("resize web --cpu 1 --cpu-limit none --pids 9 --replicas 2");
  expect(all).toEqual({ spec: { resources: { cpuMillis: 1000, cpuLimitMillis: null, pidsMax: 9 }, replicas: 2 } });
  expect(Value.Check(PatchWorkload, all)).toBe(true);
  expect(patch("resize web --memory-reservation 8Mi --io-read 1Mi --io-write none --io-weight 300")).toEqual({
    spec: {
      resources: {
        memoryReservationBytes: 8_388_608,
        io: { readBytesPerSec: 1_048_576, writeBytesPerSec: null, weight: 300 },
      },
    },
  });
  expect(patch("resize web --io-read-ops 20 --io-write-ops none")).toEqual({
    spec: { resources: { io: { readOpsPerSec: 20, writeOpsPerSec: null } } },
  });
  expect(() => patch("resize web")).toThrow(UsageError);
});

test("signals by name and number", () => {
  expect(["TERM", "sigterm", "15"].map(parseSignal)).toEqual([15, 15, 15]);
  for (const text of ["0", "65", "NOPE"]) expect(() => parseSignal(text)).toThrow(UsageError);
});
