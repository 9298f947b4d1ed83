import { connectBus, type Bus } from "@bulkhead/bus";
import { TestFleet, type TestHost } from "@bulkhead/inventory/testing";
import { migrate } from "@bulkhead/inventory";
import { startNats, startPostgres, type TestNats, type TestPostgres } from "@bulkhead/testkit/servers";
import { ControlLoop } from "../control-loop.ts";
import type { ControlTimes } from "../ports.ts";
import { FakeAgent } from "./fake-agent.ts";
import { memoryLog } from "./memory-log.ts";

/** A real Postgres and a real NATS with credentials, and what tests of the control loop start on them. */
export class Rig implements AsyncDisposable {
  readonly postgres: TestPostgres;
  readonly nats: TestNats;
  readonly fleet: TestFleet;
  readonly log = memoryLog();
  /** number of times events were announced in process */
  announcements = 0;
  readonly #loops = new Set<ControlLoop>();
  readonly #agents: FakeAgent[] = [];
  readonly #buses: Bus[] = [];

  private constructor(postgres: TestPostgres, nats: TestNats, fleet: TestFleet) {
    this.postgres = postgres;
    this.nats = nats;
    this.fleet = fleet;
  }

  static async start(): Promise<Rig> {
    const [postgres, nats] = await Promise.all([startPostgres({ migrate }), startNats({ keys: true })]);
    return new Rig(postgres, nats, await TestFleet.make(postgres));
  }

  /** A scheduler's control loop with times made for tests. */
  async control(times: Partial<ControlTimes> = {}, holder = `scheduler-${this.#loops.size}`): Promise<ControlLoop> {
    const bus = await connectBus({ ...(await this.nats.service("scheduler")), log: this.log });
    this.#buses.push(bus);
    const loop = new ControlLoop(
      {
        store: this.fleet.control,
        bus,
        log: this.log,
        nowMs: () => performance.now(),
        onEvents: () => {
          this.announcements += 1;
        },
      },
      { times, holder },
    );
    this.#loops.add(loop);
    loop.start();
    return loop;
  }

  async agent(host: TestHost): Promise<FakeAgent> {
    const bus = await connectBus({ ...(await this.nats.host(host.hostId)), log: this.log });
    const agent = new FakeAgent(host, bus);
    this.#agents.push(agent);
    return agent;
  }

  /** A host that joined, with its agent beating. */
  async joined(everyMs = 100): Promise<FakeAgent> {
    const agent = await this.agent(await this.fleet.addHost());
    agent.beat(everyMs);
    return agent;
  }

  /** Ends loops and agents and empties the database: the next test begins anew on the same servers. */
  async reset(): Promise<void> {
    await Promise.all([...this.#loops].map((loop) => loop.stop()));
    this.#loops.clear();
    await Promise.all(this.#agents.splice(0).map((agent) => agent[Symbol.asyncDispose]()));
    await Promise.all(this.#buses.splice(0).map((bus) => bus.drain()));
    this.log.lines.length = 0;
    this.announcements = 0;
    await this.fleet.reset();
    // The test itself leads after a reset; a control loop is to take over at once.
    await this.fleet.control.releaseLeadership({ term: this.fleet.term, holder: "test" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reset();
    await this.fleet[Symbol.asyncDispose]();
    await this.nats[Symbol.asyncDispose]();
    await this.postgres[Symbol.asyncDispose]();
  }
}
