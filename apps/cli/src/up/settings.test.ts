import { expect, test } from "vitest";
import { requireHost, requirePorts } from "./requirements.ts";
import { readUpSettings } from "./settings.ts";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

test("every place follows the state and run directories, so that fleets can live side by side", () => {
  const one = readUpSettings({ BULKHEAD_STATE_DIR: "/srv/one/", BULKHEAD_RUN_DIR: "/run/x" }).layout;
  const two = readUpSettings({ BULKHEAD_STATE_DIR: "/srv/two", BULKHEAD_RUN_DIR: "/run/x" }).layout;
  const shared = new Set<string>([one.checkout, one.run]);
  const clashes = Object.values(one).filter((path) => !shared.has(path) && Object.values(two).includes(path));
  expect(clashes).toEqual([]);
  expect(Object.values(one).filter((path) => !/^\/(srv\/one|run\/x)/.test(path))).toEqual([one.checkout]);
});

test("the database's socket has a path that fits in sun_path whatever the state directory is called", () => {
  const { layout } = readUpSettings({ BULKHEAD_STATE_DIR: `/${"long".repeat(50)}` });
  expect(Buffer.byteLength(`${layout.postgresSocket}/.s.PGSQL.5432`)).toBeLessThan(90);
});

test("bad variables are told together", () => {
  const read = () => readUpSettings({ BULKHEAD_API_PORT: "many", BULKHEAD_STATE_DIR: "relative" });
  expect(read).toThrow(/BULKHEAD_STATE_DIR.*BULKHEAD_API_PORT/);
});

test("a host needs Linux, x86-64 and root", () => {
  expect(() => requireHost({ platform: "linux", arch: "x64", uid: 0 }, "bulkhead up")).not.toThrow();
  expect(() => requireHost({ platform: "linux", arch: "arm64", uid: 1000 }, "bulkhead up")).toThrow(
    /x86-64 machine \(this is arm64\).*needs root/,
  );
});

test("a port that something else uses is named with the variable that moves ours", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => {
    server.once("listening", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await expect(requirePorts({ BULKHEAD_API_PORT: port })).rejects.toThrow(
    `port ${port} is in use by another program (BULKHEAD_API_PORT chooses another)`,
  );
  server.close();
  await new Promise((resolve) => {
    server.once("close", resolve);
  });
  await expect(requirePorts({ BULKHEAD_API_PORT: port })).resolves.toBeUndefined();
});
