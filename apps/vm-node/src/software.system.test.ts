// Debian's servers as machines: unchanged, for programs of other instances.
import { rm } from "node:fs/promises";
import type { Assignment, WorkloadSpec } from "@bulkhead/contracts";
import { nginxImage, redisImage } from "@bulkhead/testkit/images";
import { expect, test, vi } from "vitest";
import { sharedParts } from "./testing/machine-rig.ts";
import { MixedHost, placeOf } from "./testing/mixed-host.ts";

vi.setConfig({ testTimeout: 300_000 });
const patience = { timeout: 120_000, interval: 200 };
const graceMs = 60_000;

/** What it runs: `args` for its image's entrypoint, or a command of its own. */
type Program = Pick<WorkloadSpec, "args" | "command">;

const running = ({ spec: { command: _command, ...spec }, ...rest }: Assignment, program: Program): Assignment => ({
  ...rest,
  spec: { ...spec, ...program },
});

/** A host with a machine of an image, and a container of the same one beside it. */
const beside = async (
  archive: string,
  name: string,
  program: Program,
  say: (host: MixedHost, machine: Assignment, box: Assignment) => Promise<void>,
): Promise<void> => {
  const shared = await sharedParts(archive);
  try {
    await using host = await MixedHost.open(shared);
    const box = await host.start("container", placeOf(2, ["box"]));
    const machine = await host.begin(running(host.assignment("vm", placeOf(3, [name])), program));
    await say(host, machine, box).catch(async (error: unknown) => {
      throw new Error(`the machine said:\n${await host.output(machine)}`, { cause: error });
    });
    await host.end(machine);
    await host.end(box);
  } finally {
    await rm(shared.directory, { recursive: true, force: true });
  }
};

test("redis answers containers by its name, as its own user on its own kernel, and stops cleanly", async () => {
  const args = ["/etc/redis/redis.conf", "--bind", "0.0.0.0", "::", "--protected-mode", "no"];
  await beside(await redisImage(), "cache", { args }, async (host, machine, box) => {
    const redis = (...words: string[]) => host.exec(box, `redis-cli -h cache ${words.join(" ")}`);
    await expect.poll(() => redis("ping"), patience).toBe("PONG");
    expect(await redis("set", "key", "value")).toBe("OK");
    expect(await host.exec(machine, "redis-cli -s /run/redis/redis.sock get key; id -u")).toBe("value\n999");
    const kernel = await host.exec(machine, "uname -r");
    expect(await redis("info", "server")).toContain(`os:Linux ${kernel}`);
    expect(await host.exec(box, "uname -r")).not.toBe(kernel);
    await host.pause(machine, true);
    expect(await host.exec(box, "timeout 2 redis-cli -h cache ping")).not.toContain("PONG");
    await host.pause(machine, false);
    await expect.poll(() => redis("get", "key"), patience).toBe("value");
    expect(await host.stop(machine, graceMs)).toBe("StoppedByUser: 0");
    const said = await host.output(machine);
    expect(said).toContain("Ready to accept connections");
    expect(said).toContain("Redis is now ready to exit, bye bye...");
  });
});

test("nginx serves a container what is in its image, with a worker of another user, and stops cleanly", async () => {
  // Its configuration listens inside only.
  const conf = "/etc/nginx/nginx.conf";
  const command = ["sh", "-c", `sed -i 's/127.0.0.1:8080/[::]:80 ipv6only=off/' ${conf} && exec nginx -c ${conf}`];
  await beside(await nginxImage(), "web", { command }, async (host, machine, box) => {
    const get = 'printf "GET / HTTP/1.0\\r\\n\\r\\n" | timeout 5 nc web 80 | tail -n 1';
    await expect.poll(() => host.exec(box, get), patience).toBe("hello from nginx");
    expect(await host.exec(machine, "ps -o user,args | grep 'nginx: worker' | grep -v grep")).toMatch(
      /^(33|www-data) /,
    );
    expect(await host.stop(machine, graceMs)).toBe("StoppedByUser: 0");
    expect(await host.output(machine)).toMatch(/"GET \/ HTTP\/1\.0" 200 17/);
  });
});
