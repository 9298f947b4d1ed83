import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { InProcessMachine, monitorPath, probe, selfTest } from "./index.ts";
import { knock, powerOff, reset, say, tinyKernel } from "./testing/tiny-kernel.ts";

const execute = promisify(execFile);

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "bulkhead-in-process-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Words for a machine that runs this code, and what it says at its serial port. */
const machineOf = (name: string, code: readonly number[]) => {
  const [kernel, serial] = [join(directory, `${name}.elf`), join(directory, `${name}.said`)];
  writeFileSync(kernel, tinyKernel(code));
  writeFileSync(serial, "");
  return {
    words: ["--kernel", kernel, "--memory-mib", "2", "--serial", serial],
    said: () => readFileSync(serial, "latin1"),
  };
};

const until = (condition: () => boolean) => expect.poll(condition, { timeout: 10_000, interval: 1 }).toBe(true);

test("says what this host's KVM can do", () => {
  const capabilities = probe();
  expect(capabilities["KVM_CAP_MAX_VCPUS"]).toBeGreaterThanOrEqual(capabilities["KVM_CAP_NR_VCPUS"] ?? Infinity);
  expect(capabilities["KVM_CAP_NR_MEMSLOTS"]).toBeGreaterThan(0);
});

test("says why there is none, in the shape of Node's own errors", async () => {
  const missing = join(directory, "kvm");
  expect(() => probe(missing)).toThrow(expect.objectContaining({ code: "ENOENT", errno: -2, path: missing }));
  await expect(selfTest(missing)).rejects.toMatchObject({ code: "ENOENT", path: missing });
  expect(() => probe("/dev/null")).toThrow(
    expect.objectContaining({ code: "ENOTTY", syscall: "KVM_GET_API_VERSION", message: expect.any(String) }),
  );
});

test("finds the same as the monitor, in a process of its own, does", async () => {
  const { level, reason, virtualization } = await selfTest();
  const { stdout } = await execute(monitorPath, ["--self-test"]);
  expect(JSON.parse(stdout)).toMatchObject({ level, reason, virtualization });
});

test("runs machines side by side to their ends, and counts their exits", async () => {
  const names = ["one", "two", "three"];
  const ends = names.map(async (name) => {
    const { words, said } = machineOf(name, [...say(`${name}\n`), ...powerOff]);
    await using machine = new InProcessMachine(words);
    const end = await machine.run();
    return { end, said: said(), writes: machine.exits.portWrites, steps: machine.phases.length };
  });
  const expected = names.map((name) => ({
    end: { outcome: "powered-off", detail: 0 },
    said: `${name}\n`,
    // Each byte, and the one that switches it off.
    writes: name.length + 2,
    steps: expect.any(Number),
  }));
  expect(await Promise.all(ends)).toEqual(expected);
});

test("a reset is told from a machine that was switched off", async () => {
  await using machine = new InProcessMachine(machineOf("resets", reset).words);
  expect(await machine.run()).toMatchObject({ outcome: "reset" });
});

test("stands still while it is paused, goes on, and is stopped", async () => {
  await using machine = new InProcessMachine(machineOf("knocks", knock).words);
  expect(() => machine.pause()).toThrow(expect.objectContaining({ code: "ESRCH" }));
  const ended = machine.run();
  expect(() => machine.run()).toThrow(expect.objectContaining({ code: "EALREADY" }));
  await until(() => machine.exits.portWrites > 100);
  machine.pause();
  const paused = machine.exits.portWrites;
  // As long as a hundred knocks took, many times over.
  await selfTest();
  expect(machine.exits.portWrites).toBe(paused);
  machine.resume();
  await until(() => machine.exits.portWrites > paused + 100);
  machine.stop();
  expect(await ended).toEqual({ outcome: "stopped", detail: 0 });
});

/** Whether it was paused, or refused to be, and with which code. */
const pauseNow = (machine: InProcessMachine): unknown => {
  try {
    machine.pause();
    return "paused";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
};

test("is paused from when its processors run, and refuses before", async () => {
  for (let round = 0; round < 40; round++) {
    await using machine = new InProcessMachine([...machineOf("early", knock).words, "--cpus", "16"]);
    const ended = machine.run();
    const began = process.hrtime.bigint();
    while (process.hrtime.bigint() - began < BigInt(round) * 20_000n) continue;
    expect(["paused", "ESRCH"]).toContain(pauseNow(machine));
    machine.resume();
    machine.stop();
    expect(await ended).toMatchObject({ outcome: "stopped" });
  }
});

const processorThreads = (): string[] =>
  readdirSync("/proc/self/task")
    .map((thread) => readFileSync(`/proc/self/task/${thread}/comm`, "utf8"))
    .filter((name) => name.startsWith("vcpu "));

test("runs nothing of its guest any more once its end is told", async () => {
  const machine = new InProcessMachine([...machineOf("over", knock).words, "--cpus", "2"]);
  const ended = machine.run();
  await until(() => machine.exits.portWrites > 100);
  machine.stop();
  expect(await ended).toMatchObject({ outcome: "stopped" });
  // One that was waited for may be listed for a moment more.
  await until(() => processorThreads().length === 0);
});

test("is gone with who disposes of it, whether it ran or not", async () => {
  let ended: Promise<unknown>;
  {
    await using machine = new InProcessMachine(machineOf("disposed", knock).words);
    ended = machine.run();
  }
  expect(await ended).toMatchObject({ outcome: "stopped" });
  await using _unused = new InProcessMachine(machineOf("unused", knock).words);
});

test("refuses what is no machine with the word that is wrong, and a kernel that is none", () => {
  const { words } = machineOf("refused", powerOff);
  const refusal = (more: readonly string[]) => {
    try {
      return new InProcessMachine([...words, ...more]);
    } catch (error) {
      return error;
    }
  };
  expect(refusal(["--cpus", "many"])).toMatchObject({ code: "EINVAL", path: "--cpus" });
  expect(refusal(["--self-test"])).toMatchObject({ code: "EINVAL" });
  expect(refusal(["--control", join(directory, "control")])).toMatchObject({ code: "EINVAL" });
  const text = join(directory, "text");
  writeFileSync(text, "no kernel");
  expect(refusal(["--kernel", text])).toMatchObject({ syscall: expect.any(String), code: expect.any(String) });
});
