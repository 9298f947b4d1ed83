import type { InstanceMachine } from "@bulkhead/contracts";
import { assignment, epoch, FakeHost, instanceId, Mortal, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { Agent } from "./index.ts";

const one = instanceId(1);

describe("a new agent on the same host", () => {
  test("adopts what runs and says so, without starting anything", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(10);
    host.kill();
    await host.start();
    expect(host.runtime.started).toEqual([]);
    expect(host.log.lines.at(-2)).toMatchObject({ message: "agent takes over", fields: { instances: { adopt: 1 } } });
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 0, contractHeld: true });
    host.control.update(one, { desired: "stopped" });
    await host.clock.advance(10);
    expect(host.control.newest(one).state).toBe("stopped");
  });

  test("says what runs a machine that it adopts, as long as that runs and when it ended", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(10);
    expect(host.control.newest(one)).not.toHaveProperty("machine");
    host.kill();
    const machine: InstanceMachine = {
      engine: "qemu",
      kernel: "6.1.0",
      cpus: 2,
      cpuIds: [],
      pinned: false,
      memoryPolicy: "normal",
      hugepages: false,
    };
    host.runtime.run(one).machine = machine;
    await host.start();
    expect(host.control.newest(one)).toMatchObject({ state: "running", machine });
    host.control.update(one, { desired: "stopped" });
    await host.clock.advance(10);
    expect(host.control.newest(one)).toMatchObject({ state: "stopped", machine });
  });

  test("reports the exit code of what ended meanwhile, and restarts it by policy", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "on-failure", backoffMs: 5_000 } } }));
    await settle();
    host.kill();
    host.runtime.run(one).end({ exitCode: 42 });
    await host.start();
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "Exited", exit: { exitCode: 42 } });
    await host.clock.advance(5_000);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 1, restarts: 1 });
  });

  test("goes on with a back-off where the last one was", async () => {
    const host = new FakeHost();
    await host.start();
    const restart = { policy: "always", backoffMs: 10_000, maxRestarts: 5 } as const;
    host.control.assign(assignment({ spec: { command: ["exit7"], restart } }));
    await host.clock.advance(10_000);
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", attempt: 1, restarts: 2 });
    await host.clock.advance(15_000);
    host.kill();
    await host.start();
    expect(host.runtime.started).toEqual([]);
    await host.clock.advance(4_999);
    expect(host.runtime.started).toEqual([]);
    await host.clock.advance(1);
    expect(host.runtime.started.map(({ key }) => key.attempt)).toEqual([2]);
  });

  test("does not start again what had failed for good, nor what was stopped", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(
      assignment({ spec: { command: ["exit7"], restart: { policy: "never" } } }),
      assignment({ n: 2, desired: "stopped" }),
    );
    await settle();
    expect(host.control.newest(one)).toMatchObject({ state: "failed", exit: { exitCode: 7 } });
    host.kill();
    await host.start();
    await host.clock.advance(600_000);
    expect(host.runtime.started).toEqual([]);
  });

  test("tells an end that its predecessor saw and could not write down", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "never" } } }));
    await host.clock.advance(100);
    const { promise: never } = Promise.withResolvers<void>();
    host.storage.before = async (name) => (name.startsWith("journal") ? never : undefined);
    host.runtime.run(one).end({ exitCode: 6 });
    await host.clock.advance(5_000);
    host.kill();
    host.storage.before = async () => undefined;
    await host.start();
    expect(host.control.newest(one)).toMatchObject({ state: "failed", exit: { exitCode: 6 } });
  });

  test("gives a number to one start only, though its predecessor died while it started", async () => {
    const host = new FakeHost();
    host.runtime.script.start = () => "hang";
    await host.start();
    host.control.assign(assignment());
    await settle();
    const first = host.runtime.started;
    host.kill();
    delete host.runtime.script.start;
    await host.start();
    expect([...first, ...host.runtime.started].map(({ key }) => key.attempt)).toEqual([0, 1]);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 1, restarts: 0 });
  });

  test("obeys the document on its disk when nobody answers", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(100);
    host.control.reachable = false;
    host.reboot();
    await host.start();
    await settle();
    expect(host.runtime.living(one)).toHaveLength(1);
    host.control.reachable = true;
    await host.clock.advance(2_000);
    expect(host.control.folded.some(({ reason }) => reason === "HostRebooted")).toBe(true);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 1 });
  });

  test("does not start from an old document what was ended while it was away", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.reboot();
    host.control.end(one);
    await host.start();
    expect(host.runtime.started).toEqual([]);
    expect(host.control.newest(one)).toMatchObject({ state: "gone", exit: { exitCode: 0 } });
  });

  test("delivers what its predecessor could not", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.control.reachable = false;
    host.runtime.run(one).end({ exitCode: 9 });
    await settle();
    host.kill();
    host.control.reachable = true;
    await host.start();
    const exits = host.control.folded.flatMap(({ exit }) => (exit === null ? [] : [exit.exitCode]));
    expect(exits).toEqual([9]);
  });

  test("with a new disk keeps what runs, under a new journal", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ restartRequest: 4, epoch: epoch(3) }));
    await settle();
    host.kill();
    host.storage.files.clear();
    await host.start();
    expect(host.runtime.started).toEqual([]);
    expect(host.control.newest(one)).toMatchObject({ state: "running", journal: "journal-2", epoch: epoch(3) });
    const renewed = host.control.folded.filter(({ journal }) => journal === "journal-2");
    expect(renewed.map(({ seq }) => seq)).toEqual([1, 2]);
  });
});

describe("killed at any moment", () => {
  interface Story {
    readonly name: string;
    /** what happens while the first agent lives; each line is followed by rest */
    readonly acts: readonly ((host: FakeHost) => void)[];
    readonly expected: (host: FakeHost) => void;
  }

  const ends = (host: FakeHost): (number | null)[] =>
    [
      ...new Map(
        host.control.folded.map((report) => [`${report.attempt} ${report.exit?.finishedAt}`, report.exit]),
      ).values(),
    ]
      .filter((exit) => exit !== null)
      .map(({ exitCode }) => exitCode);

  const stories: Story[] = [
    {
      name: "start",
      acts: [({ control }) => control.assign(assignment())],
      expected: (host) => {
        expect(host.runtime.living(one)).toHaveLength(1);
        expect(host.control.newest(one).state).toBe("running");
      },
    },
    {
      name: "start, stop",
      acts: [
        ({ control }) => control.assign(assignment()),
        ({ control }) => control.update(one, { desired: "stopped" }),
      ],
      expected: (host) => {
        expect(host.runtime.living(one)).toEqual([]);
        expect(host.control.newest(one)).toMatchObject({ state: "stopped", reason: "StoppedByUser" });
      },
    },
    {
      name: "start, delete",
      acts: [({ control }) => control.assign(assignment()), ({ control }) => control.end(one)],
      expected: (host) => {
        expect(host.runtime.runs).toEqual([]);
        expect(host.control.newest(one).state).toBe("gone");
        expect(host.control.tombstones).toEqual([]);
      },
    },
    {
      name: "start, restart",
      acts: [
        ({ control }) => control.assign(assignment()),
        ({ control }) => control.update(one, { restartRequest: 1 }),
      ],
      expected: (host) => {
        expect(host.runtime.living(one)).toHaveLength(1);
        expect(host.control.newest(one).state).toBe("running");
        expect(host.runtime.run(one).assignment.restartRequest).toBe(1);
      },
    },
    {
      name: "an exit and its restart",
      acts: [
        ({ control }) => control.assign(assignment({ spec: { restart: { policy: "on-failure", backoffMs: 100 } } })),
        ({ runtime }) => runtime.runs.find(({ living }) => living)?.end({ exitCode: 5 }),
      ],
      expected: (host) => {
        expect(host.runtime.living(one)).toHaveLength(1);
        expect(host.control.newest(one).state).toBe("running");
        const ended = host.runtime.runs.filter(({ living }) => !living);
        expect(ends(host)).toEqual(ended.map(() => 5));
      },
    },
    {
      name: "a new epoch in place of the old",
      acts: [
        ({ control }) => control.assign(assignment()),
        ({ control }) => control.assign(assignment({ epoch: epoch(2) })),
      ],
      expected: (host) => {
        expect(host.runtime.living(one).map(({ key }) => key.epoch)).toEqual([epoch(2)]);
        expect(host.control.tombstones).toEqual([]);
      },
    },
    {
      name: "start, resize, pause",
      acts: [
        ({ control }) => control.assign(assignment()),
        ({ control }) =>
          control.assign(
            assignment({
              generation: 2,
              desired: "paused",
              spec: { resources: { cpuMillis: 5, memoryBytes: 2 ** 27 } },
            }),
          ),
      ],
      expected: (host) => {
        expect(host.runtime.run(one).resources).toEqual({ cpuMillis: 5, memoryBytes: 2 ** 27 });
        expect(host.control.newest(one)).toMatchObject({ state: "paused", generation: 2 });
      },
    },
  ];

  const live = async (host: FakeHost, process: Mortal, story: Story): Promise<void> => {
    Agent.start(host.options(process)).catch(() => undefined);
    await settle();
    for (const act of story.acts) {
      act(host);
      await host.clock.advance(50);
    }
  };

  test.each(stories)("$name", async (story) => {
    const rehearsal = new Mortal(Number.POSITIVE_INFINITY);
    await live(new FakeHost(), rehearsal, story);
    expect(rehearsal.calls).toBeGreaterThan(10);
    for (let step = 0; step < 2 * rehearsal.calls; step += 1) {
      const host = new FakeHost();
      const process = new Mortal(step);
      await live(host, process, story);
      expect(process.dead).toBe(true);
      const first = host.runtime;
      host.kill();
      await host.start();
      await host.clock.advance(30_000);
      story.expected(host);
      const keys = [...first.started, ...host.runtime.started].map(({ key }) => `${key.epoch.n}.${key.attempt}`);
      expect(new Set(keys).size, `died at ${step}: ${keys.join(" ")}`).toBe(keys.length);
      expect(host.runtime.living(one).length, `died at ${step}`).toBeLessThanOrEqual(1);
    }
  });
});
