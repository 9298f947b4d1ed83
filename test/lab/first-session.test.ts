// The README's first session on a fresh Debian: systemd, cgroup v2 alone, nothing of a fleet on its disk.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { redisImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Lab } from "./lab.ts";

const checkout = resolve(import.meta.dirname, "../..");

/** An emulated host compiles every service before it starts it, one processor after the other. */
const patientMs = 600_000;

/** Lines of the README's first block of commands below a title, without their comments. */
const commandsBelow = (title: string): string[] => {
  const readme = readFileSync(join(checkout, "README.md"), "utf8");
  const block = readme.split(`\n## ${title}\n`)[1]?.split("```sh\n")[1]?.split("\n```")[0] ?? "";
  return block.split("\n").map((line) => line.replace(/\s+#.*$/, ""));
};

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

let lab: Lab;
let image: string;

/** For what must succeed; answers its standard output. */
const typed = async (command: string): Promise<string> => {
  const { code, stdout, stderr } = await lab.run(command, {
    timeoutMs: patientMs,
    env: { PATH: `${join(checkout, "apps/cli/bin")}:/usr/sbin:/usr/bin:/sbin:/bin` },
  });
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
};

beforeAll(async () => {
  image = await redisImage();
  lab = await Lab.boot({ init: "systemd", modprobe: [], memoryMib: 4096, inTurns: true });
});
afterAll(() => lab[Symbol.asyncDispose]());

test("comes up as a unit of systemd", { timeout: 2 * patientMs }, async () => {
  const unit = "-p Delegate=yes -p StandardOutput=file:/tmp/up.log -p StandardError=inherit --collect";
  await typed(`systemd-run -q --unit=fleet ${unit} '${join(checkout, "apps/cli/bin/bulkhead")}' up --bare`);
  const said = await typed(
    "until grep -q '^Bulkhead is up' /tmp/up.log || ! systemctl -q is-active fleet; do sleep 1; done; cat /tmp/up.log",
  );
  expect(said).toContain("Bulkhead is up.\n");
});

test("does what the README's first session says", { timeout: 20 * patientMs }, async () => {
  // There is no network in a lab host to build an image from, and no terminal.
  const commands = commandsBelow("A first session").filter((line) => !/ images build | exec -it /.test(line));
  expect(commands.length).toBeGreaterThan(10);
  await typed("until bulkhead hosts | grep -q ' ready '; do sleep 1; done");
  for (const command of commands) {
    const said = await typed(command.replace("/tmp/redis.tar", image));
    // A person types more slowly than Redis starts, here as well.
    if (command.startsWith("bulkhead run")) {
      await typed("until bulkhead exec cache redis-cli ping | grep -q PONG; do sleep 1; done");
    }
    const [, expected = /(?:)/] = Object.entries(answers).find(([start]) => command.startsWith(start)) ?? [];
    expect({ command, said }).toEqual({ command, said: expect.stringMatching(expected) });
  }
  expect(await typed("bulkhead ps -q")).toBe("");
});
