import { assignment, epoch, FakeHost, instanceId, settle, type Delivery } from "@bulkhead/testkit/runtime";
import * as fc from "fast-check";
import { expect, test } from "vitest";

const ids = [1, 2, 3];

type Act =
  | { readonly act: "assign" | "end" | "restart" | "exit"; readonly n: number }
  | { readonly act: "want"; readonly n: number; readonly desired: "running" | "paused" | "stopped" }
  | { readonly act: "grow"; readonly n: number; readonly memoryBytes: number }
  | { readonly act: "pass"; readonly ms: number }
  | { readonly act: "crash" | "reboot" }
  | { readonly act: "link"; readonly deliveries: readonly Delivery[] };

const n = fc.constantFrom(...ids);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constantFrom("assign", "end", "restart", "exit"), n }) },
  {
    weight: 3,
    arbitrary: fc.record({ act: fc.constant("want"), n, desired: fc.constantFrom("running", "paused", "stopped") }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ act: fc.constant("grow"), n, memoryBytes: fc.integer({ min: 2 ** 24, max: 2 ** 25 }) }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("pass"), ms: fc.constantFrom(0, 5, 50, 2_000) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom("crash", "reboot") }) },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant("link"),
      deliveries: fc.array(fc.constantFrom("once", "twice", "lost"), { minLength: 1, maxLength: 5 }),
    }),
  },
);

class Story {
  readonly host = new FakeHost();
  readonly starts: string[] = [];
  /** newest epoch of each instance: no assignment is older than one before */
  readonly #next = new Map<number, number>();

  async play({ act, ...given }: Act): Promise<void> {
    const { control, runtime } = this.host;
    const found =
      "n" in given ? control.assignments.find(({ instanceId: id }) => id === instanceId(given.n)) : undefined;
    switch (act) {
      case "assign": {
        const { n } = given as { n: number };
        const number = (this.#next.get(n) ?? 0) + 1;
        this.#next.set(n, number);
        control.assign(
          assignment({ n, epoch: epoch(number), spec: { restart: { policy: "always", backoffMs: 100 } } }),
        );
        break;
      }
      case "end":
        if (found !== undefined) control.end(found.instanceId, 10);
        break;
      case "restart":
        if (found !== undefined) control.update(found.instanceId, { restartRequest: found.restartRequest + 1 });
        break;
      case "exit":
        runtime.runs
          .findLast(({ key }) => key.instanceId === instanceId((given as { n: number }).n))
          ?.end({ exitCode: 1 });
        break;
      case "want":
        if (found !== undefined) control.update(found.instanceId, given as { desired: "running" });
        break;
      case "grow": {
        const { memoryBytes } = given as { memoryBytes: number };
        if (found === undefined) break;
        const spec = { ...found.spec, resources: { ...found.spec.resources, memoryBytes } };
        control.update(found.instanceId, { generation: found.generation + 1, spec });
        break;
      }
      case "pass":
        await this.host.clock.advance((given as { ms: number }).ms);
        break;
      case "crash":
      case "reboot":
        await this.#replaceAgent(act === "reboot");
        break;
      case "link": {
        const { deliveries } = given as { deliveries: Delivery[] };
        let turn = 0;
        control.link = () => deliveries[(turn += 1) % deliveries.length] ?? "once";
        break;
      }
      default: {
        const never: never = act;
        throw new Error(String(never));
      }
    }
  }

  async begin(): Promise<void> {
    await this.host.start();
  }

  async #replaceAgent(reboot: boolean): Promise<void> {
    this.note();
    if (reboot) this.host.reboot();
    else this.host.kill();
    const starting = this.host.start();
    await this.host.clock.advance(2_000);
    await starting;
  }

  note(): void {
    this.starts.push(...this.host.runtime.started.map(({ key }) => `${key.instanceId} ${key.epoch.n}.${key.attempt}`));
  }
}

test("whatever is lost, repeated, killed or rebooted, the host becomes as wanted and everything is told once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 40 }), async (acts) => {
      const story = new Story();
      const { host } = story;
      await story.begin();
      for (const next of acts) {
        await story.play(next);
        await settle();
        for (const n of ids) expect(host.runtime.living(instanceId(n)).length).toBeLessThanOrEqual(1);
      }
      host.control.link = () => "once";
      await host.clock.advance(60_000);
      story.note();

      expect(host.control.tombstones).toEqual([]);
      expect(new Set(story.starts).size).toBe(story.starts.length);
      for (const n of ids) {
        const id = instanceId(n);
        const wanted = host.control.assignments.find(({ instanceId }) => instanceId === id);
        const [run, ...others] = host.runtime.living(id);
        expect(others).toEqual([]);
        const runs = wanted !== undefined && wanted.desired !== "stopped";
        expect(run !== undefined).toBe(runs);
        expect(run?.paused ?? false).toBe(wanted?.desired === "paused");
        expect(run?.resources ?? null).toEqual(runs ? wanted.spec.resources : null);
        expect(run?.key.epoch ?? null).toEqual(runs ? wanted.epoch : null);
        const reports = host.control.folded.filter(({ instanceId }) => instanceId === id);
        const ofEpoch = reports.filter((report) => wanted === undefined || report.epoch.n === wanted.epoch.n);
        const told = ofEpoch.at(-1)?.state ?? "gone";
        expect(told).toBe(wanted?.desired ?? "gone");
      }
      expect(host.control.folded.some(({ reason }) => reason === "RuntimeFailed")).toBe(false);
    }),
    { numRuns: 200 },
  );
}, 60_000);
