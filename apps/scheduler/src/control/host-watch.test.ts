import type { KnownAgent } from "@bulkhead/inventory";
import { describe, expect, test } from "vitest";
import { HostWatch } from "./host-watch.ts";

const times = { suspectAfterMs: 10_000, unknownAfterMs: 30_000 };
const startMs = 1_000_000;
const a = { hostId: "a", isolation: "container" } as const;
const known = (changes: Partial<KnownAgent> = {}): KnownAgent => ({
  ...a,
  hostName: "a",
  state: "ready",
  foreignClusterId: null,
  ...changes,
});
const watch = (...agents: KnownAgent[]) => new HostWatch(times, startMs, agents);
const statesAt = (subject: HostWatch, ms: number) => subject.changes(startMs + ms).map((change) => change.state);

describe("silence", () => {
  test("makes an agent suspect after 10 s and unknown after 30 s, each once it is written", () => {
    const subject = watch(known());
    expect(statesAt(subject, 9_999)).toEqual([]);
    expect(statesAt(subject, 10_000)).toEqual(["suspect"]);
    subject.settle(subject.changes(startMs + 10_000), startMs + 10_000);
    expect(statesAt(subject, 29_999)).toEqual([]);
    expect(statesAt(subject, 30_000)).toEqual(["unknown"]);
  });

  test("is counted by a new leader from its own beginning, and improves nothing", () => {
    const subject = watch(known({ state: "suspect" }), known({ hostId: "b", state: "unknown" }));
    expect(statesAt(subject, 20_000)).toEqual([]);
    expect(statesAt(subject, 30_000)).toEqual(["unknown"]);
  });

  test("that ends while it is being written is not entered, and the next heartbeat is written", () => {
    const subject = watch(known());
    const changes = subject.changes(startMs + 10_000);
    subject.heard(a, startMs + 10_001, null);
    subject.settle(changes, startMs + 10_002);
    expect(statesAt(subject, 10_002)).toEqual([]);
    expect(subject.heard(a, startMs + 10_003, null)).toBe(true);
    expect(subject.heard(a, startMs + 10_004, null)).toBe(false);
  });
});

describe("a heartbeat", () => {
  test("is news when the agent is new, was not ready or obeys another", () => {
    const subject = watch(known({ state: "unknown" }));
    expect(subject.heard(a, startMs + 1, null)).toBe(true);
    expect(subject.heard(a, startMs + 2, null)).toBe(false);
    expect(subject.heard(a, startMs + 3, "other")).toBe(true);
    expect(subject.heard(a, startMs + 4, "other")).toBe(false);
    expect(subject.heard({ ...a, hostId: "new" }, startMs + 5, null)).toBe(true);
  });
});

describe("accounts", () => {
  const closedAt = (subject: HostWatch, ms: number) => subject.accountsClosed(startMs + ms, 10_000);

  test("close when every agent that is well has accounted; to be heard is not enough", () => {
    const subject = watch(known(), known({ hostId: "gone", state: "unknown" }));
    subject.heard(a, startMs + 1, null);
    expect(closedAt(subject, 1)).toBe(false);
    expect(subject.account(a)).toBe(true);
    expect(subject.account(a)).toBe(false);
    expect(closedAt(subject, 1)).toBe(true);
  });

  test("close after the grace, and stay closed when agents are added", () => {
    const subject = watch(known());
    expect(closedAt(subject, 9_999)).toBe(false);
    expect(closedAt(subject, 10_000)).toBe(true);
    subject.heard({ ...a, hostId: "new" }, startMs + 10_001, null);
    expect(closedAt(subject, 10_002)).toBe(true);
  });

  test("open again with a new era", () => {
    const subject = watch(known());
    subject.account(a);
    expect(closedAt(subject, 20_000)).toBe(true);
    subject.reopenAccounts(startMs + 20_000);
    expect(closedAt(subject, 29_999)).toBe(false);
    expect(closedAt(subject, 30_000)).toBe(true);
  });
});

describe("a lost agent's quiet time", () => {
  const quietMs = (subject: HostWatch, ms: number) => subject.quietMs(a, startMs + ms);

  test("counts from when this leader heard it last, or from the takeover", () => {
    const subject = watch(known());
    subject.heard(a, startMs + 1_000, null);
    subject.settle(subject.changes(startMs + 40_000), startMs + 40_000);
    expect(subject.lost()).toEqual([a]);
    expect(quietMs(subject, 40_000)).toBe(39_000);
    expect(quietMs(watch(known({ state: "unknown" })), 40_000)).toBe(40_000);
  });

  test("is nothing while the agent is only suspect, and from the moment it is heard again", () => {
    const subject = watch(known({ state: "suspect" }));
    expect(subject.lost()).toEqual([]);
    expect(quietMs(subject, 29_000)).toBe(0);
    const back = watch(known({ state: "unknown" }));
    back.heard(a, startMs + 40_000, null);
    expect(back.lost()).toEqual([]);
    expect(quietMs(back, 400_000)).toBe(0);
  });
});
