import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Place } from "./runtime.ts";

test("the session keyring is new and carries the container's id, unless the caller's is to stay", async () => {
  await using place = new Place();
  // The kernel shows root's keyrings to every root of its user namespace, for a while after their end too.
  const unique = `${process.pid}-${Date.now()}`;
  const named = async (name: string, ...options: string[]): Promise<boolean> => {
    const id = `${name}-${unique}`;
    const keys = await place.must(["run", ...options, "--bundle", place.bundle(["cat", "/proc/keys"]), id]);
    return keys.includes(`_ses.${id}`);
  };
  expect(await named("one")).toBe(true);
  expect(await named("two", "--no-new-keyring")).toBe(false);
  const third = `three-${unique}`;
  await place.create(third, place.bundle(["sleep", "1000"]), "--no-new-keyring");
  await place.must(["start", third]);
  expect(await place.must(["exec", third, "cat", "/proc/keys"])).not.toContain(`_ses.${third}`);
});

test("a pidfd socket is spoken to, and one that nobody listens at undoes the container", async () => {
  await using place = new Place();
  const path = join(place.path, "pidfd.sock");
  const server = createServer().listen(path);
  await once(server, "listening");
  const heard = (async (): Promise<string> => {
    const [socket] = (await once(server, "connection")) as [Socket];
    return String((await once(socket, "data"))[0]);
  })();
  await place.create("one", place.bundle(["sleep", "1000"]), "--pidfd-socket", path);
  expect(await heard).toBe("pidfd");
  server.close();
  await once(server, "close");
  const { status, stderr } = await place.run([
    "run",
    "--pidfd-socket",
    path,
    "--bundle",
    place.bundle(["true"]),
    "two",
  ]);
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining("pidfd socket: ") });
  expect(await place.must(["list", "--quiet"])).toBe("one\n");
});

test("checkpoints are refused by name, also when an engine only asks for help", async () => {
  await using place = new Place();
  for (const args of [
    ["checkpoint", "--help"],
    ["checkpoint", "--image-path", "/x", "one"],
    ["restore", "one"],
  ]) {
    const { status, stderr } = await place.run(args);
    expect({ args, status, stderr }).toEqual({
      args,
      status: 1,
      stderr: expect.stringContaining(`${args[0]} is not supported`),
    });
  }
});

test("device rules of a live container change, and a refused update leaves them", async () => {
  await using place = new Place();
  const fuse = { allow: true, type: "c", major: 10, minor: 229, access: "rw" };
  const none = { allow: false, access: "rwm" };
  await place.create(
    "one",
    place.bundle(["sleep", "1000"], (config) => {
      config.linux["resources"] = { devices: [none] };
      config.linux["devices"] = [{ path: "/dev/probe", type: "c", major: 10, minor: 229, fileMode: 0o666 }];
    }),
  );
  await place.must(["start", "one"]);
  const opens = async (): Promise<boolean> =>
    (await place.run(["exec", "one", "sh", "-c", ": <>/dev/probe && : </dev/null"])).status === 0;
  const update = (resources: object) =>
    place.run(["update", "--resources", "-", "one"], { input: JSON.stringify(resources) });
  expect(await opens()).toBe(false);
  expect((await update({ devices: [none, fuse] })).status).toBe(0);
  expect(await opens()).toBe(true);
  const refused = await update({ devices: [none], pids: { limit: "x" } });
  expect(refused.status).toBe(1);
  expect(await opens()).toBe(true);
  expect((await update({ pids: { limit: 30 } })).status).toBe(0);
  expect(await opens()).toBe(true);
  expect((await update({ devices: [none] })).status).toBe(0);
  expect(await opens()).toBe(false);
});
