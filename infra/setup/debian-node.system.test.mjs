import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pinnedEnvironment, root } from "./paths.mjs";

/** Debian 12's Node, the libraries it does not share with other programs, and the parts Debian ships as packages. */
const packages =
  "nodejs=18* libnode108 libc-ares2 libuv1 libnghttp2-14 libicu72 libbrotli1 node-acorn node-cjs-module-lexer node-undici".split(
    " ",
  );

const directory = mkdtempSync(join(tmpdir(), "bulkhead-node18-"));
const node = join(directory, "usr/bin/node");
const environment = {
  ...process.env,
  ...pinnedEnvironment(),
  LD_LIBRARY_PATH: join(directory, "usr/lib/x86_64-linux-gnu"),
};

beforeAll(() => {
  // apt fetches as its own unprivileged user.
  chmodSync(directory, 0o777);
  execFileSync("apt-get", ["download", "-q", ...packages], { cwd: directory, stdio: "pipe" });
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".deb"))) {
    execFileSync("dpkg-deb", ["-x", file, "."], { cwd: directory });
  }
});
afterAll(() => rmSync(directory, { recursive: true }));

// Debian's Node reads its own parts from /usr/share/nodejs; they are shown there in a mount namespace that ends with it.
const program = `mount -t overlay -o lowerdir=${join(directory, "usr/share")}:/usr/share overlay /usr/share && exec "$@"`;

const run = (...args) =>
  spawnSync("unshare", ["--mount", "sh", "-c", program, "sh", node, ...args], {
    cwd: root,
    env: environment,
    encoding: "utf8",
  });

test("Debian's Node 18 parses every bootstrap file", () => {
  expect(run("--version").stdout).toMatch(/^v18\./);
  const files = readdirSync(join(root, "infra/setup")).filter((name) => /^[^.]+\.mjs$/.test(name));
  const refused = files.filter((file) => run("--check", join("infra/setup", file)).status !== 0);
  expect(refused).toEqual([]);
});

test("set-up looks what is to do with it, in less than 3 s", () => {
  const began = performance.now();
  const { status, stderr } = run("infra/setup/setup.mjs", "--check");
  expect(`${status} ${stderr}`).toMatch(/^(0 $|1 ( *to do: .*\n)+$)/);
  expect(performance.now() - began).toBeLessThan(3_000);
});

test("a benchmark nobody has is refused with the list of those there are", () => {
  const { status, stderr } = run("infra/setup/bench.mjs", "nothing");
  expect(status).toBe(1);
  expect(stderr).toContain("there is no benchmark nothing");
  expect(stderr).toContain("container-start");
});
