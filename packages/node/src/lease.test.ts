import { assignment, FakeClock, FakeHost, instanceId, MemoryLeasePage, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { Lease } from "./lease.ts";

const one = instanceId(1);
const once = assignment({ spec: { onLoss: "replace", leaseMs: 10_000 } });
const grant = (sentAt: bigint, over: { term?: number; granted?: boolean; refetch?: boolean } = {}) => ({
  term: 1,
  granted: true,
  refetch: false,
  ...over,
  sentAtBoottimeNs: sentAt.toString(),
});

describe("lease", () => {
  const fresh = () => {
    const page = new MemoryLeasePage();
    const clock = new FakeClock();
    const lease = new Lease(page, clock);
    const beat = (digest: string | null = "d"): bigint => {
      const at = clock.boottimeNs();
      lease.sent(at.toString(), digest);
      return at;
    };
    return { page, clock, lease, beat };
  };

  test("a grant renews the page as of when the heartbeat was sent", async () => {
    const { page, clock, lease, beat } = fresh();
    const sentAt = beat();
    await clock.advance(700);
    expect(lease.answer(grant(sentAt), "d")).toEqual({ renewed: true, refetch: false });
    expect(page.state).toEqual({ renewedAtNs: sentAt, term: 1n });
  });

  test("late, repeated, foreign, refused and deposed answers renew nothing", async () => {
    const { page, clock, lease, beat } = fresh();
    const first = beat();
    await clock.advance(1_000);
    const second = beat();
    lease.answer(grant(second, { term: 2 }), "d");
    expect(lease.answer(grant(first, { term: 2 }), "d").renewed).toBe(false);
    expect(lease.answer(grant(second, { term: 2 }), "d").renewed).toBe(false);
    expect(lease.answer(grant(second + 5n, { term: 2 }), "d").renewed).toBe(false);
    await clock.advance(1_000);
    const third = beat();
    expect(lease.answer(grant(third, { term: 1 }), "d")).toEqual({ renewed: false, refetch: false });
    expect(lease.answer(grant(third, { term: 2, granted: false }), "d").renewed).toBe(false);
    expect(page.state).toEqual({ renewedAtNs: second, term: 2n });
  });

  test("a leader deposed before this agent began stays deposed", () => {
    const { page, clock } = fresh();
    page.state = { renewedAtNs: 1n, term: 9n };
    const lease = new Lease(page, clock);
    const at = clock.boottimeNs();
    lease.sent(at.toString(), null);
    expect(lease.answer(grant(at, { term: 8 }), null).renewed).toBe(false);
  });

  test("a refetch is asked for only while the document is still the one the heartbeat named", () => {
    const { lease, beat } = fresh();
    const sentAt = beat("old");
    expect(lease.answer(grant(sentAt, { refetch: true }), "old").refetch).toBe(true);
    expect(lease.answer(grant(sentAt, { refetch: true }), "new").refetch).toBe(false);
  });

  test("what may run once starts only while renewed and confirmed, and only for leaseMs", async () => {
    const { clock, lease, beat } = fresh();
    expect(lease.holds(assignment())).toBe(true);
    expect(lease.holds(once)).toBe(false);
    lease.answer(grant(beat(), { refetch: true }), "d");
    expect(lease.holds(once)).toBe(false);
    await clock.advance(1);
    lease.answer(grant(beat()), "d");
    expect(lease.holds(once)).toBe(true);
    await clock.advance(9_999);
    expect(lease.holds(once)).toBe(true);
    await clock.advance(1);
    expect(lease.holds(once)).toBe(false);
  });
});

describe("an agent that lost contact", () => {
  const restart = { policy: "always", backoffMs: 100 } as const;
  const guarded = assignment({ spec: { onLoss: "replace", leaseMs: 10_000, restart } });

  test("does not restart what another host may have taken over, and does after the leader confirmed it", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(guarded);
    await host.clock.advance(4_000);
    expect(host.runtime.living(one)).toHaveLength(1);
    host.control.reachable = false;
    await host.clock.advance(11_000);
    host.runtime.run(one).end({ signal: 9, reason: "LeaseExpired" });
    await host.clock.advance(60_000);
    expect(host.runtime.living(one)).toEqual([]);
    host.control.reachable = true;
    await host.clock.advance(4_000);
    expect(host.control.folded.find(({ state }) => state === "lost")).toMatchObject({
      reason: "LeaseExpired",
      restarts: 0,
    });
    expect(host.runtime.living(one)).toHaveLength(1);
  });

  test("does not start what it was still fetching when the lease ran out, before the leader confirmed it", async () => {
    const host = new FakeHost();
    const fetched = Promise.withResolvers<void>();
    host.runtime.script.prepare = () => fetched.promise;
    await host.start();
    host.control.assign(guarded);
    await host.clock.advance(4_000);
    host.control.reachable = false;
    await host.clock.advance(11_000);
    fetched.resolve();
    await host.clock.advance(60_000);
    expect(host.runtime.started).toEqual([]);
    host.control.reachable = true;
    await host.clock.advance(4_000);
    expect(host.runtime.started.map(({ key }) => key.attempt)).toEqual([0]);
    expect(host.control.states(one)).toEqual(["starting", "running"]);
  });

  test("does not start it again when it comes back to an order to end it", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(guarded);
    await host.clock.advance(4_000);
    host.control.reachable = false;
    await host.clock.advance(11_000);
    host.runtime.run(one).end({ signal: 9, reason: "LeaseExpired" });
    await settle();
    host.control.end(one);
    host.control.reachable = true;
    await host.clock.advance(10_000);
    expect(host.runtime.started).toHaveLength(1);
    expect(host.control.newest(one)).toMatchObject({ state: "gone" });
  });

  test("keeps everything else running and restarting", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ spec: { restart } }));
    await settle();
    host.control.reachable = false;
    await host.clock.advance(600_000);
    host.runtime.run(one).end({ exitCode: 1 });
    await host.clock.advance(1_000);
    expect(host.runtime.living(one)).toHaveLength(1);
  });
});
