import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { startNats, TestDirectory } from "@bulkhead/testkit/servers";
import { expect, test } from "vitest";
import { NatsServer } from "./nats-server.ts";

test("it runs as an unprivileged account that can gain nothing", async () => {
  await using nats = await startNats();
  const status = readFileSync(`/proc/${nats.server.process?.pid}/status`, "utf8");
  expect(status).toMatch(/^Uid:\s65534\s/m);
  expect(status).toMatch(/^CapEff:\s0+$/m);
  expect(status).toMatch(/^NoNewPrivs:\s1$/m);
});

test("the same port serves again after kill -9, and nothing is left after the end", async () => {
  let pid = 0;
  {
    await using nats = await startNats();
    const { url } = nats;
    await nats.kill();
    await expect(nats.server.health()).rejects.toThrow(/ECONNREFUSED/);
    await nats.restart();
    expect(nats.url).toBe(url);
    await nats.server.health();
    pid = nats.server.process?.pid ?? 0;
  }
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});

test("a port that is taken: the server's own words are in the message", async () => {
  await using directory = await TestDirectory.make("nats-port");
  const taken = createServer((socket) => socket.end("220 not nats\r\n")).listen(0, "127.0.0.1");
  await once(taken, "listening");
  const server = new NatsServer({
    directory: join(directory.path, "nats"),
    serverName: "x",
    port: (taken.address() as AddressInfo).port,
    jetStream: false,
    user: "nobody",
  });
  await expect(server.start()).rejects.toMatchObject({
    code: "SETUP_FAILED",
    message: expect.stringContaining("address already in use") as string,
  });
  await expect(server.health()).rejects.toThrow("no NATS server");
  taken.close();
});

test("a program that does not exist says so", async () => {
  await using directory = await TestDirectory.make("nats-binary");
  const options = { directory: join(directory.path, "nats"), serverName: "x", port: -1, jetStream: false };
  const server = new NatsServer({ ...options, binary: "/nonexistent/nats-server", prefix: [] });
  await expect(server.start()).rejects.toMatchObject({
    code: "SETUP_FAILED",
    message: expect.stringContaining("could not be started") as string,
  });
});
