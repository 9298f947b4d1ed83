import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Engine } from "./engine.ts";

let buildah: Engine;

beforeAll(async () => {
  buildah = await Engine.open("buildah");
});
afterAll(async () => {
  await buildah[Symbol.asyncDispose]();
});

const inRuntime = () => ["--isolation", "oci", "--runtime", buildah.runtime, "--network", "none"];
const build = (file: string): string[] => {
  const path = join(buildah.path, "Containerfile");
  writeFileSync(path, file);
  const parent = ["--cgroup-parent", `/${buildah.cgroup}`];
  return ["build", "--layers=false", ...inRuntime(), ...parent, "--tag", "built", "--file", path, buildah.path];
};

test("build steps run in the runtime", async () => {
  const file = [
    "FROM scratch",
    "ADD busybox.tar /",
    "ENV STEP=one",
    'RUN ["/bin/sh", "-c", "echo $STEP >/made; id -u >>/made"]',
    "USER 700",
    'RUN ["/bin/sh", "-c", "id -u >/tmp/user"]',
    "",
  ].join("\n");
  const chmod = file.replace("ENV STEP", 'RUN ["/bin/busybox", "chmod", "1777", "/tmp"]\nENV STEP');
  await buildah.mustDo(...build(chmod));
  const container = (await buildah.mustDo("from", "--pull-never", "built")).trim();
  const root = (await buildah.mustDo("mount", container)).trim();
  expect(readFileSync(join(root, "made"), "utf8")).toBe("one\n0\n");
  expect(readFileSync(join(root, "tmp/user"), "utf8")).toBe("700\n");
  await buildah.mustDo("umount", container);
});

test("a step that fails fails the build with its status", async () => {
  const file = 'FROM scratch\nADD busybox.tar /\nRUN ["/bin/sh", "-c", "echo before; exit 3"]\n';
  const { status, stdout, stderr } = await buildah.do(build(file));
  expect(status).toBe(3);
  expect(stdout + stderr).toContain("before");
});

test("run works in a container that buildah made", async () => {
  const container = (await buildah.mustDo("from", "scratch")).trim();
  await buildah.mustDo("add", container, join(buildah.path, "busybox.tar"), "/");
  const ran = await buildah.do(["run", ...inRuntime(), container, "--", "sh", "-c", "echo hello; exit 6"]);
  expect(ran).toMatchObject({ status: 6, stdout: "hello\n" });
});
