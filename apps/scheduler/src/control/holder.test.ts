import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isDeadHolder, ownHolder } from "./holder.ts";

const withPid = (pid: number, started: string): string => {
  const [boot, namespace] = ownHolder().split("/");
  return [boot, namespace, pid, started].join("/");
};

describe("isDeadHolder", () => {
  test("a living process is not dead, this one least of all", () => {
    expect(isDeadHolder(ownHolder())).toBe(false);
    const stat = readFileSync("/proc/1/stat", "utf8");
    const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    expect(isDeadHolder(withPid(1, started))).toBe(false);
  });

  test("a process that has ended is dead", async () => {
    const child = spawn("true");
    const { pid = 0 } = child;
    await once(child, "exit");
    expect(isDeadHolder(withPid(pid, "1"))).toBe(true);
  });

  test("another process with the same id is not the holder", () => {
    expect(isDeadHolder(withPid(process.pid, "1"))).toBe(true);
  });

  test("nothing is known of other machines, boots and pid namespaces, or of other names", () => {
    const [boot, namespace, pid, started] = ownHolder().split("/");
    expect(isDeadHolder([crypto.randomUUID(), namespace, "999999", started].join("/"))).toBe(false);
    expect(isDeadHolder([boot, "1", "999999", started].join("/"))).toBe(false);
    expect(isDeadHolder([boot, namespace, pid].join("/"))).toBe(false);
    expect(isDeadHolder("scheduler-1")).toBe(false);
  });
});
