import { readFileSync, statSync } from "node:fs";
import { conflictImages } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

/**
 * The problem this product starts from: one machine, one global file system, two programs that want different files at
 * the same paths and different versions of the same library.
 */
describe("two images that could not share one machine's file system", () => {
  let fleet: Fleet;
  let images: Awaited<ReturnType<typeof conflictImages>>;
  const hostFiles = ["/etc/passwd", "/etc/hostname", "/etc/ld.so.cache"];
  let before: string[];

  const fingerprint = (): string[] =>
    hostFiles.map((path) => `${path} ${statSync(path).mtimeMs} ${readFileSync(path).toString("base64")}`);

  beforeAll(async () => {
    before = fingerprint();
    fleet = await startFleet();
    images = await conflictImages();
    await fleet.importImage("one", images.images[0].path);
    await fleet.importImage("two", images.images[1].path);
    await Promise.all([
      fleet.run("one", {
        image: "one",
        command: ["sleep", "100000"],
        resources: { cpuMillis: 200, memoryBytes: 64 * 1024 * 1024 },
      }),
      fleet.run("two", {
        image: "two",
        command: ["sleep", "100000"],
        resources: { cpuMillis: 200, memoryBytes: 64 * 1024 * 1024 },
      }),
    ]);
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  test("run side by side on one host", async () => {
    const [one, two] = await Promise.all([fleet.instance("one-0"), fleet.instance("two-0")]);
    expect([one.state, two.state]).toEqual(["running", "running"]);
    expect(one.hostId).toBe(two.hostId);
  });

  test("each sees its own version of the same library", async () => {
    const [one, two] = await Promise.all(["one-0", "two-0"].map((name) => fleet.exec(name, images.command)));
    expect(one).toMatchObject({ exitCode: 0, stderr: "" });
    expect(two).toMatchObject({ exitCode: 0, stderr: "" });
    expect(one?.stdout).toContain(images.images[0].version);
    expect(two?.stdout).toContain(images.images[1].version);
    expect(one?.stdout).not.toContain(images.images[1].version);
  });

  test("each sees its own file at the same path in /etc", async () => {
    const [one, two] = await Promise.all(
      ["one-0", "two-0"].map((name) => fleet.exec(name, ["cat", images.conflictingFile])),
    );
    expect(one?.stdout).toBe("instance = first\n");
    expect(two?.stdout).toBe("instance = second\n");
  });

  test("what one writes the other does not see", async () => {
    await fleet.exec("one-0", ["sh", "-c", "echo mine > /etc/only-here"]);
    expect(await fleet.exec("one-0", ["cat", "/etc/only-here"])).toMatchObject({ exitCode: 0, stdout: "mine\n" });
    expect((await fleet.exec("two-0", ["cat", "/etc/only-here"])).exitCode).toBe(1);
  });

  test("the host's files are unchanged", () => {
    expect(fingerprint()).toEqual(before);
  });
});
