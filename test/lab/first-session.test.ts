// The README's first session on a fresh Debian: systemd, cgroup v2 alone, nothing of a fleet on its disk.
import { redisImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandsBelow, FleetHost, patientMs } from "./fleet-host.ts";

/** What has to be said, by the beginning of its command; the others have to succeed. */
const answers: Readonly<Record<string, RegExp>> = {
  "bulkhead hosts": /^HOST .*\n\S+ +ready /,
  "bulkhead run redis": /^cache-0\n$/,
  "bulkhead ps": /^INSTANCE .*\ncache-0 +running /,
  "bulkhead exec cache redis-cli set": /^OK\n$/,
  "bulkhead resize cache": /\ncache-0 +\S+ +0\.5 +128Mi +applied\n$/,
  "bulkhead exec cache redis-cli get": /^hello\n$/,
  "bulkhead logs cache": /Ready to accept connections/,
};

let host: FleetHost;
let image: string;

beforeAll(async () => {
  image = await redisImage();
  host = await FleetHost.boot();
});
afterAll(() => host[Symbol.asyncDispose]());

test("comes up as a unit of systemd", { timeout: 2 * patientMs }, async () => {
  await expect(host.up()).resolves.toBeUndefined();
});

test("does what the README's first session says", { timeout: 20 * patientMs }, async () => {
  // There is no network in a lab host to build an image from, and no terminal.
  const commands = commandsBelow("README.md", "## A first session").filter(
    (line) => !/ images build | exec -it /.test(line),
  );
  expect(commands.length).toBeGreaterThan(10);
  await host.until("bulkhead hosts | grep -q ' ready '");
  for (const command of commands) {
    const said = await host.typed(command.replace("/tmp/redis.tar", image));
    // A person types more slowly than Redis starts, here as well.
    if (command.startsWith("bulkhead run")) {
      await host.until("bulkhead exec cache redis-cli ping | grep -q PONG");
    }
    const [, expected = /(?:)/] = Object.entries(answers).find(([start]) => command.startsWith(start)) ?? [];
    expect({ command, said }).toEqual({ command, said: expect.stringMatching(expected) });
  }
  expect(await host.typed("bulkhead ps -q")).toBe("");
});
