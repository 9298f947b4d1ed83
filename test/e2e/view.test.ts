import { busyboxImage } from "@bulkhead/testkit/images";
import type { InstanceView } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet();
  await fleet.importImage("busybox", await busyboxImage());
});
afterAll(() => fleet[Symbol.asyncDispose]());

const spec = (capabilities?: string[]) => ({
  image: "busybox",
  command: ["sleep", "1000"],
  resources: { cpuMillis: 100, memoryBytes: 32 * 2 ** 20 },
  ...(capabilities === undefined ? {} : { container: { capabilities } }),
});

test("what an instance can see is an answer of the API, and of the command", async () => {
  await fleet.run("seen", spec());
  const answer = await fleet.http("GET", "/v1/instances/seen-0/view");
  expect(answer.status).toBe(200);
  const view = answer.body as InstanceView;
  expect(view.pid).toBe(await fleet.pidOf("seen-0"));
  expect(view.namespaces.filter(({ own }) => own).map(({ type }) => type)).toEqual([
    "mnt",
    "pid",
    "net",
    "ipc",
    "uts",
    "user",
    "cgroup",
  ]);
  expect(view.seccomp.from).toBe("kernel");

  const { code, stdout } = await fleet.cli("view", "seen");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^NAMESPACES\n {2}mnt +\d+ its own$/m);
  expect(stdout).toMatch(/^ {2}\/dev\/null +c 1:3 0666$/m);
});

test("an instance that may write in some places only is held to them, and shows them", async () => {
  const { code } = await fleet.cli("run", "busybox", "--name", "confined", "--writable", "/tmp", "--", "sleep", "1000");
  expect(code).toBe(0);
  const tried = await fleet.cli("exec", "confined-0", "--", "sh", "-c", "touch /tmp/a && ! touch /etc/a 2>&1");
  expect(tried).toMatchObject({ code: 0, stdout: expect.stringContaining("Permission denied") });
  expect((await fleet.cli("view", "confined")).stdout).toMatch(/^ {2}writes +\/dev \/proc \/tmp$/m);
});

test("two instances are compared", async () => {
  await fleet.run("plain", spec());
  await fleet.run("privileged", spec(["CAP_SYS_ADMIN"]));
  const { code, stdout } = await fleet.cli("view", "plain", "privileged");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ {2}capabilities +CAP_CHOWN .*CAP_SYS_ADMIN$/m);
  expect(stdout).toMatch(/^ {2}mount +- +allowed$/m);
  expect(stdout).not.toContain("/dev/null");
});

test("what does not run has no view, and says so", async () => {
  await fleet.run("gone", spec());
  await fleet.act("gone-0", "stop", "stopped");
  expect(await fleet.http("GET", "/v1/instances/gone-0/view")).toMatchObject({
    status: 409,
    body: { code: "STATE_CONFLICT" },
  });
  expect(await fleet.http("GET", "/v1/instances/nobody/view")).toMatchObject({ status: 404 });
  expect(await fleet.http("GET", "/v1/instances/plain-0/view?seccompFrom=magic")).toMatchObject({
    status: 400,
    body: { code: "REQUEST_INVALID" },
  });
});
