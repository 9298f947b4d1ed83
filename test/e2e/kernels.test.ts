import { join, resolve } from "node:path";
import type { Instance, Kernel } from "@bulkhead/contracts";
import { command } from "@bulkhead/images";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

/** In the checkout, where git ignores it: a kernel is fetched once. */
const kernels = join(resolve(import.meta.dirname, "../.."), "node_modules/.cache/bulkhead-guest-kernels");

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({ BULKHEAD_KERNEL_DIR: kernels });
  await fleet.importImage("busybox", await busyboxImage());
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** A kernel of Debian's for virtual machines that is not the newest, which hosts fetch themselves. */
const olderPackage = async (): Promise<string> => {
  const text = await command("apt-cache", ["search", "--names-only", "^linux-image-[0-9.-]+-cloud-amd64$"]);
  const newest = await command("apt-cache", ["depends", "linux-image-cloud-amd64"]);
  const names = [...text.matchAll(/^(linux-image-\S+) /gm)].map(([, name = ""]) => name);
  const [older] = names.filter((name) => !newest.includes(`${name}\n`)).toSorted();
  if (older === undefined) throw new Error("apt knows no second kernel");
  return older;
};

const cli = async (...words: string[]): Promise<string> => {
  const { code, output } = await fleet.cli(...words);
  if (code !== 0) throw new Error(`bulkhead ${words.join(" ")} ended with ${code}: ${output}`);
  return output;
};

test("a kernel is built, registered and run on, and stays while a machine runs on it", async () => {
  const wanted = await olderPackage();
  const release = wanted.slice("linux-image-".length);
  const archive = join(fleet.directory, "kernel.tar");
  await cli("kernels", "build", wanted, "-f", archive);
  await cli("images", "import", archive, "--name", "kernel:older");
  expect(await cli("kernels", "add", "older", "kernel:older")).toContain(release);

  const size = ["-c", "0.5", "-m", "192Mi"];
  await cli(
    "run",
    "busybox",
    "--name",
    "box",
    "--isolation",
    "vm",
    "--kernel",
    "older",
    ...size,
    "--",
    "sleep",
    "9999",
  );
  expect(await cli("exec", "box", "uname", "-r")).toBe(`${release}\n`);
  const instance = (await fleet.http("GET", "/v1/instances/box-0")).body as Instance;
  expect(instance.machine).toMatchObject({ engine: "qemu", kernel: release });
  expect(await cli("ps", "--wide")).toMatch(new RegExp(`^box-0 .* vm +qemu +${release} `, "m"));
  expect((await fleet.http("GET", "/v1/kernels/older")).body as Kernel).toMatchObject({ release, workloads: ["box"] });

  expect(await fleet.cli("kernels", "rm", "older")).toMatchObject({
    code: expect.any(Number) as number,
    output: expect.stringContaining("Kernel older is used by box.") as string,
  });
  await fleet.remove("box");
  expect(await cli("kernels", "rm", "older")).toBe("removed older\n");
});

test("what is no kernel is not registered, and a machine does not run on one that is unknown", async () => {
  const refused = await fleet.http("POST", "/v1/kernels", { body: { name: "none", image: "busybox" } });
  expect(refused).toMatchObject({ status: 422, body: { code: "KERNEL_INVALID" } });
  const spec = { isolation: "vm", image: "busybox", resources: { cpuMillis: 500, memoryBytes: 192 * 2 ** 20 } };
  const body = { name: "no", spec: { ...spec, vm: { kernel: "none" } } };
  expect(await fleet.http("POST", "/v1/workloads", { body })).toMatchObject({
    status: 422,
    body: { code: "KERNEL_UNKNOWN" },
  });
});
