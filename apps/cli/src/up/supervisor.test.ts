import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServerProcess } from "@bulkhead/bus";
import { afterAll, expect, test } from "vitest";
import { Supervisor, type Startable } from "./supervisor.ts";

const directory = mkdtempSync(join(tmpdir(), "bulkhead-supervisor-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** A real child process that can be told to end, and to fail its next starts. */
class Child implements Startable {
  process: ServerProcess | undefined;
  starts = 0;
  failures = 0;
  readonly #command: readonly string[];
  readonly #order: string[];
  readonly #name: string;

  constructor(name: string, order: string[], command: readonly string[] = ["sleep", "600"]) {
    this.#name = name;
    this.#order = order;
    this.#command = command;
  }

  async start(): Promise<void> {
    this.starts += 1;
    if (this.failures > 0) {
      this.failures -= 1;
      this.process = undefined;
      throw new Error("no luck");
    }
    this.process = new ServerProcess({ name: this.#name, command: this.#command });
  }

  async stop(): Promise<void> {
    this.#order.push(this.#name);
    await this.process?.stop("SIGTERM", 1_000);
  }
}

const setUp = (name: string) => {
  const said: string[] = [];
  const record = join(directory, `${name}.json`);
  const supervisor = new Supervisor({ record, say: (text) => said.push(text) });
  const recorded = (): { name: string; pid: number }[] =>
    existsSync(record) ? (JSON.parse(readFileSync(record, "utf8")) as never) : [];
  return { said, supervisor, recorded };
};

test("a service that dies is started again and said so; the record names the new process", async () => {
  const { said, supervisor, recorded } = setUp("restart");
  const child = new Child("scheduler", []);
  await supervisor.add({ name: "scheduler", server: child });
  const first = child.process?.pid;
  expect(recorded()).toMatchObject([{ name: "scheduler", pid: first }]);
  process.kill(first ?? 0, "SIGKILL");
  await expect.poll(() => said.at(-1), { timeout: 5_000 }).toBe("scheduler runs again");
  expect(said[0]).toContain("scheduler was ended by SIGKILL; starting it again");
  await expect.poll(() => recorded()[0]?.pid).toBe(child.process?.pid);
  expect(child.process?.pid).not.toBe(first);
  await supervisor.stop();
  expect(child.starts).toBe(2);
});

test("a start that fails is tried again", async () => {
  const { said, supervisor } = setUp("retry");
  const child = new Child("metrics", []);
  await supervisor.add({ name: "metrics", server: child });
  child.failures = 1;
  process.kill(child.process?.pid ?? 0, "SIGKILL");
  await expect.poll(() => said.at(-1), { timeout: 5_000 }).toBe("metrics runs again");
  expect(said).toContain("metrics could not be started: no luck");
  await supervisor.stop();
});

test("the first start's failure is the caller's, and nothing is kept running", async () => {
  const { supervisor, recorded } = setUp("first");
  const child = new Child("scheduler", []);
  child.failures = 1;
  await expect(supervisor.add({ name: "scheduler", server: child })).rejects.toThrow("no luck");
  await supervisor.stop();
  expect(recorded()).toEqual([]);
  expect(child.starts).toBe(1);
  const nowhere = new Supervisor({ record: join(directory, "absent", "processes.json"), say: () => undefined });
  await expect(nowhere.stop()).resolves.toBeUndefined();
});

test("stopping is in reverse order and starts nothing again", async () => {
  const { said, supervisor, recorded } = setUp("stop");
  const order: string[] = [];
  const [one, two] = [new Child("postgres", order), new Child("scheduler", order)];
  await supervisor.add({ name: "postgres", server: one });
  await supervisor.add({ name: "scheduler", server: two });
  await supervisor.stop();
  expect(order).toEqual(["scheduler", "postgres"]);
  expect([one.starts, two.starts]).toEqual([1, 1]);
  expect(said).toEqual([]);
  expect(recorded()).toEqual([]);
});

test("a service that refuses its configuration is not tried again", async () => {
  const { supervisor } = setUp("config");
  const child = new Child("metrics", [], ["sh", "-c", "echo BULKHEAD_METRICS_PORT is not a number; exit 78"]);
  await supervisor.add({ name: "metrics", server: child });
  await expect(supervisor.failed).rejects.toThrow("BULKHEAD_METRICS_PORT is not a number");
  await supervisor.stop();
  expect(child.starts).toBe(1);
});

test("a stop while a service starts leaves nothing running, and nothing more is started", async () => {
  const { supervisor, recorded } = setUp("stopped-early");
  const child = new Child("metrics", []);
  const gate = Promise.withResolvers<void>();
  const slow: Startable = {
    get process() {
      return child.process;
    },
    start: async () => {
      await gate.promise;
      await child.start();
    },
    stop: () => child.stop(),
  };
  const added = supervisor.add({ name: "metrics", server: slow });
  const stopped = supervisor.stop();
  gate.resolve();
  await Promise.all([added, stopped]);
  expect((await child.process?.exited)?.signal).toBe("SIGTERM");
  expect(recorded()).toEqual([]);
  await expect(supervisor.add({ name: "late", server: new Child("late", []) })).rejects.toThrow("being stopped");
});
