import { assignment, epoch, FakeClock, instanceId, MemoryStorage } from "@bulkhead/testkit/runtime";
import { isFleetError } from "@bulkhead/contracts";
import type { InstanceMemory } from "@bulkhead/lifecycle";
import { describe, expect, test } from "vitest";
import { Ledger } from "./ledger.ts";
import { blankMemory } from "./steps/memory.ts";

const name = "epochs/container.log";
const memory = (over: Partial<InstanceMemory> = {}): InstanceMemory => ({ ...blankMemory(assignment()), ...over });
const open = (storage: MemoryStorage, clock = new FakeClock()) => Ledger.open({ storage, name, clock });

describe("ledger", () => {
  test("what put resolved for is there after a crash", async () => {
    const storage = new MemoryStorage();
    const { ledger } = await open(storage);
    await ledger.put(instanceId(1), memory({ attempt: 0 }));
    await ledger.put(instanceId(1), memory({ attempt: 1 }));
    await ledger.put(instanceId(2), memory({ epoch: epoch(1, 3) }));
    const { ledger: next } = await open(storage);
    expect(next.get(instanceId(1))?.attempt).toBe(1);
    expect(next.highestEra).toBe(3);
  });

  test("puts at the same time are one write", async () => {
    const storage = new MemoryStorage();
    const { ledger } = await open(storage);
    const first = ledger.put(instanceId(0), memory());
    const writes = storage.writes;
    await Promise.all([first, ...[1, 2, 3, 4, 5].map((n) => ledger.put(instanceId(n), memory()))]);
    expect(storage.writes - writes).toBeLessThanOrEqual(2);
  });

  test("an epoch never goes back", async () => {
    const { ledger } = await open(new MemoryStorage());
    await ledger.put(instanceId(1), memory({ epoch: epoch(1, 2) }));
    const refused = (): unknown => {
      try {
        return ledger.put(instanceId(1), memory({ epoch: epoch(9, 1) }));
      } catch (error) {
        return error;
      }
    };
    const error = refused();
    expect(isFleetError(error) && error.code).toBe("STATE_CONFLICT");
    expect(ledger.get(instanceId(1))?.epoch).toEqual(epoch(1, 2));
  });

  test("a full disk rejects, remembers, and is tried again", async () => {
    const storage = new MemoryStorage();
    const clock = new FakeClock();
    const { ledger } = await open(storage, clock);
    storage.full = true;
    await expect(ledger.put(instanceId(1), memory({ attempt: 4 }))).rejects.toThrow("ENOSPC");
    expect(ledger.get(instanceId(1))?.attempt).toBe(4);
    expect(ledger.problem).toContain("ENOSPC");
    storage.full = false;
    await clock.advance(1_000);
    expect(ledger.problem).toBeNull();
    const { ledger: next } = await open(storage);
    expect(next.get(instanceId(1))?.attempt).toBe(4);
  });

  test("a torn end falls back to the record before", async () => {
    const storage = new MemoryStorage();
    const { ledger } = await open(storage);
    await ledger.put(instanceId(1), memory({ attempt: 0 }));
    await ledger.put(instanceId(1), memory({ attempt: 1 }));
    storage.tear(name, 3);
    const { ledger: next, damaged } = await open(storage);
    expect(damaged).toBe(1);
    expect(next.get(instanceId(1))?.attempt).toBe(0);
    await next.put(instanceId(2), memory());
    expect((await open(storage)).damaged).toBe(0);
  });

  test("the file stays small, and so does the memory of what is gone", async () => {
    const storage = new MemoryStorage();
    const { ledger } = await open(storage);
    const puts: Promise<void>[] = [];
    for (let n = 0; n < 10_050; n += 1) puts.push(ledger.put(instanceId(n), memory({ phase: "gone" })));
    await Promise.all(puts);
    expect(ledger.get(instanceId(49))).toBeNull();
    expect(ledger.get(instanceId(50))?.phase).toBe("gone");
    for (let attempt = 0; attempt < 50_000; attempt += 500) await ledger.put(instanceId(60), memory({ attempt }));
    expect(storage.text(name).split("\n").length).toBeLessThan(40_010);
  });
});
