import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { pinnedNode, root } from "./paths.mjs";

const folder = join(root, "infra", "systemd");
/** Where units expect the checkout. */
const installed = "/opt/bulkhead";
const units = readdirSync(folder).filter((name) => name.endsWith(".service"));

/** What systemd says about a unit, as it would be on a host whose checkout is this one. */
const verify = (name, text) => {
  const directory = mkdtempSync(join(tmpdir(), "bulkhead-units-"));
  try {
    const path = join(directory, name);
    writeFileSync(path, text.replaceAll(installed, root));
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", path], { encoding: "utf8" });
    return { status, said: `${stdout}${stderr}`.split("\n").filter((line) => line.includes(name)) };
  } finally {
    rmSync(directory, { recursive: true });
  }
};
const textOf = (name) => readFileSync(join(folder, name), "utf8");

test("there is a unit for every service of a host and of the control plane", () => {
  const services = ["container-node", "metrics", "scheduler", "vm-node"];
  expect(units.toSorted()).toEqual(services.map((name) => `bulkhead-${name}.service`));
});

test.for(units)("systemd finds nothing wrong with %s, and what it starts is there", (name) => {
  expect(verify(name, textOf(name))).toEqual({ status: 0, said: [] });
  const program = /^ExecStart=\S+ (\S+)$/m.exec(textOf(name))?.[1] ?? "none";
  expect(existsSync(join(root, program))).toBe(true);
});

test.for(units)("what %s starts says its settings and does nothing else", (name) => {
  const program = /^ExecStart=\S+ (\S+)$/m.exec(textOf(name))?.[1] ?? "none";
  // What the control plane has no default for.
  const needed = { BULKHEAD_HOST_SIGNER_FILE: "/none", BULKHEAD_BLOB_DIR: "/none" };
  const DATABASE_URL = "postgresql://bulkhead:secret@127.0.0.1:1/none";
  const { status, stdout } = spawnSync(pinnedNode, [join(root, program), "--print-config"], {
    env: { PATH: process.env.PATH, DATABASE_URL, ...needed },
    encoding: "utf8",
  });
  expect(status).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.filter((line) => !/^(BULKHEAD_\w+=|OTEL_\w+=|DATABASE_URL=|# \w+ is not set$)/.test(line))).toEqual([]);
  expect(lines).toContain("BULKHEAD_LOG_LEVEL=info");
  expect(stdout).not.toContain("secret");
});

test("systemd does find what is wrong", () => {
  const [name = ""] = units;
  expect(verify(name, textOf(name).replace("KillMode=", "KilMode=")).said.join()).toContain("KilMode");
  expect(verify(name, textOf(name).replace("/.bin/node", "/.bin/none")).status).not.toBe(0);
});
